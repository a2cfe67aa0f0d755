#include "devices/registry.hpp"

#include <array>

#include "devices/edu.hpp"
#include "devices/ioat/model.hpp"
#include "devices/loaded.hpp"
#include "devices/null.hpp"
#include "devices/nvme/model.hpp"
#include "devices/virtio_net/model.hpp"

namespace pinfold::devices {

std::span<pci::Model const* const> models()
{
    static std::array const kModels{&edu_model(), &ioat::model(), &null_model(), &nvme::model(),
                                    &virtio_net::model()};
    return kModels;
}

pci::Model const* find(std::string_view name)
{
    for (pci::Model const* const model : models())
        if (model->name() == name) return model;
    return nullptr;
}

pci::Checked<pci::Model const*> find_or_load(std::string const& name)
{
    if (names_object(name)) return load_object(name);
    return find(name);
}

}  // namespace pinfold::devices
