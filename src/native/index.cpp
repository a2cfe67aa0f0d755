#include "native/index.hpp"

#include "native/index_write.hpp"

namespace pinfold::native {

template class BasicIndex<FullShape>;

}  // namespace pinfold::native
