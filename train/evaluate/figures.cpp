#include "train/evaluate/figures.h"

namespace mono {
namespace {

void count(Share& share, bool correct) {
  share.correct += correct ? 1 : 0;
  ++share.images;
}

}  // namespace

AccuracyFigures figures_of(const std::vector<Classified>& images, const Dataset& dataset) {
  AccuracyFigures figures;
  figures.images = static_cast<int64_t>(images.size());
  for (const Classified& image : images) {
    const auto experiment = static_cast<size_t>(image.experiment);
    if (image.predicted_experiment >= 0) {
      if (!figures.batch) figures.batch.emplace();
      count(*figures.batch, image.predicted_experiment == image.experiment);
    }
    if (image.label < 0) continue;
    const bool correct = image.predicted == image.label;
    count(figures.overall, correct);
    count(figures.by_experiment[dataset.experiments[experiment]], correct);
    const auto cell_type = static_cast<size_t>(dataset.cell_type_of[experiment]);
    count(figures.by_cell_type[dataset.cell_types[cell_type]], correct);
    figures.loss += image.loss;
  }
  if (figures.overall.images > 0) figures.loss /= static_cast<double>(figures.overall.images);
  return figures;
}

}  // namespace mono
