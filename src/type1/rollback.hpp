// Undoes on the way out what a call has begun, unless the call commits: the way a failed call,
// an allocation that throws included, leaves nothing behind. One that never commits does on every
// way out what must be done.
#pragma once

#include <utility>

namespace pinfold::type1 {

template <class Undo>
class Rollback {
public:
    explicit Rollback(Undo undo) : undo_{std::move(undo)} {}
    ~Rollback()
    {
        if (armed_) undo_();
    }
    Rollback(Rollback const&) = delete;
    Rollback& operator=(Rollback const&) = delete;

    void commit() { armed_ = false; }

private:
    Undo undo_;
    bool armed_ = true;
};

}  // namespace pinfold::type1
