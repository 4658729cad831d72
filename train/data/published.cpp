#include "train/data/published.h"

#include <algorithm>

#include "kernels/base/error.h"
#include "train/data/selection.h"

namespace mono {

namespace {

// RxRx1's images as they were published; those of RxRx1-WILDS are smaller, of three channels.
bool has_rxrx1_images(const Dataset& dataset) {
  constexpr int kImageSize = 512;
  return dataset.num_classes == kRxrxClasses && dataset.image_size == kImageSize &&
         dataset.channels_on_disk == kRxrxChannels;
}

}  // namespace

bool is_complete_rxrx1(const Dataset& dataset) {
  constexpr size_t kSites = 125'510, kExperiments = 51;
  if (dataset.sites.size() < kSites || dataset.experiments.size() != kExperiments ||
      !has_rxrx1_images(dataset))
    return false;
  size_t complete = 0;
  for (int site = 0; site < static_cast<int>(dataset.sites.size()); ++site)
    complete += dataset.complete(site) && dataset.sites[static_cast<size_t>(site)].sirna_id >= 0;
  return complete == kSites;
}

bool is_complete_huvec(const Dataset& dataset) {
  constexpr int64_t kImages = 59'050, kExperiments = 24;
  const auto huvec = std::ranges::count_if(
      dataset.experiments, [](const std::string& name) { return name.starts_with("HUVEC"); });
  int64_t complete = 0;
  for (int site = 0; site < static_cast<int>(dataset.sites.size()); ++site)
    complete += dataset.sites[static_cast<size_t>(site)].cell_type == "HUVEC" &&
                dataset.sites[static_cast<size_t>(site)].sirna_id >= 0 && dataset.complete(site);
  return huvec == kExperiments && complete == kImages && has_rxrx1_images(dataset);
}

bool is_complete_cpg0004(const Dataset& dataset) {
  constexpr size_t kPlates = 136;
  // The gallery has 24,849 of these fields; of two of its fields a channel is known to be absent.
  constexpr int64_t kFields = 24'849 - 2;
  constexpr int kClasses = 570;
  if (!is_cpg0004(dataset.form) || dataset.experiments.size() != kPlates) return false;
  try {
    const Dataset selected = select_treatments(dataset);
    int64_t fields = 0;
    for (int site = 0; site < static_cast<int>(selected.sites.size()); ++site)
      fields += !selected.sites[static_cast<size_t>(site)].is_control() && selected.complete(site);
    return selected.num_classes == kClasses && fields >= kFields;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::usage) throw;
    return false;  // nothing has that dose
  }
}

bool is_synthetic(const Dataset& dataset) {
  if (dataset.form == TableForm::described) return false;  // names are the user's own
  const auto digits_after = [](const std::string& name, std::string_view prefix) {
    return name.starts_with(prefix) && name.size() > prefix.size() &&
           std::ranges::all_of(name.substr(prefix.size()),
                               [](char c) { return c >= '0' && c <= '9'; });
  };
  return std::ranges::any_of(dataset.experiments,
                             [&](const auto& name) { return digits_after(name, "SYN"); }) ||
         std::ranges::any_of(dataset.class_names,
                             [&](const auto& name) { return digits_after(name, "syn"); });
}

DataScale data_scale(const Dataset& dataset, bool cdcl) {
  const bool full = !cdcl                      ? is_complete_rxrx1(dataset)
                    : is_cpg0004(dataset.form) ? is_complete_cpg0004(dataset)
                                               : is_complete_huvec(dataset);
  if (full) return DataScale::full;
  return is_synthetic(dataset) ? DataScale::synthetic : DataScale::partial;
}

}  // namespace mono
