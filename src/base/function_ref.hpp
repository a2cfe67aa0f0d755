// A borrowed callable: what std::function is without owning, allocating or failing. Valid while the
// callable that it was made from lives, so a parameter type and nothing else.
#pragma once

#include <memory>
#include <type_traits>
#include <utility>

namespace pinfold {

template <class Signature>
class FunctionRef;

template <class R, class... Args>
class FunctionRef<R(Args...)> {
public:
    template <class F>
        requires(!std::is_same_v<std::remove_cvref_t<F>, FunctionRef> &&
                 std::is_invocable_r_v<R, F&, Args...>)
    FunctionRef(  // NOLINT(google-explicit-constructor): a parameter takes any callable
        F&& callable)
        : object_{const_cast<void*>(static_cast<void const*>(std::addressof(callable)))},
          call_{[](void* object, Args... args) -> R {
              return (*static_cast<std::remove_reference_t<F>*>(object))(
                  std::forward<Args>(args)...);
          }}
    {
    }

    R operator()(Args... args) const { return call_(object_, std::forward<Args>(args)...); }

private:
    void* object_;
    R (*call_)(void*, Args...);
};

}  // namespace pinfold
