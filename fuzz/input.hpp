// Takes a fuzzer's bytes apart; zeroes when they run out.
#pragma once

#include <cstdint>
#include <cstring>

class Input {
public:
    Input(std::uint8_t const* data, std::size_t size) : data_{data}, left_{size} {}
    bool empty() const { return left_ == 0; }
    template <class T>
    T take()
    {
        T value{};
        std::size_t const count = left_ < sizeof value ? left_ : sizeof value;
        std::memcpy(&value, data_, count);
        data_ += count;
        left_ -= count;
        return value;
    }

private:
    std::uint8_t const* data_;
    std::size_t left_;
};
