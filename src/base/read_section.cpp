#include "base/read_section.hpp"

#include <urcu/urcu-bp.h>

namespace pinfold {

ReadSection::ReadSection() { urcu_bp_read_lock(); }

ReadSection::~ReadSection() { urcu_bp_read_unlock(); }

void wait_for_readers() { urcu_bp_synchronize_rcu(); }

}  // namespace pinfold
