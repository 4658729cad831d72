#include "train/reproduce/scale.h"

namespace mono {

std::string Scale::text() const {
  if (ours()) return "full data";
  std::string text = changed ? "changed " : "";
  if (smoke || changed) text += smoke ? "smoke recipes, " : "recipes, ";
  if (missing_weights && !smoke) text += "from scratch, ";
  switch (data) {
    case DataScale::full:
      return text + "full data";
    case DataScale::partial:
      return text + "partial data";
    case DataScale::synthetic:
      break;
  }
  return text + "synthetic data";
}

}  // namespace mono
