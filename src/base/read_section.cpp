#include "base/read_section.hpp"

#include <pthread.h>
#include <urcu/urcu-bp.h>

namespace pinfold {

ReadSection::ReadSection() { urcu_bp_read_lock(); }

ReadSection::~ReadSection() { urcu_bp_read_unlock(); }

void wait_for_readers() { urcu_bp_synchronize_rcu(); }

void survive_fork()
{
    (void)pthread_atfork(urcu_bp_before_fork, urcu_bp_after_fork_parent, urcu_bp_after_fork_child);
}

}  // namespace pinfold
