#include "devices/registry.hpp"

#include <array>

#include "devices/edu.hpp"
#include "devices/ioat/model.hpp"
#include "devices/nvme/model.hpp"
#include "devices/virtio_net/model.hpp"

namespace pinfold::devices {

std::span<pci::Model const* const> models()
{
    static std::array const kModels{&edu_model(), &ioat::model(), &nvme::model(),
                                    &virtio_net::model()};
    return kModels;
}

pci::Model const* find(std::string_view name)
{
    for (pci::Model const* const model : models())
        if (model->name() == name) return model;
    return nullptr;
}

}  // namespace pinfold::devices
