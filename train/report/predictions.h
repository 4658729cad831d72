// What was predicted for each test image, by class and by place on the plate.
#pragma once

#include <filesystem>
#include <map>
#include <string>
#include <vector>

#include "train/data/dataset.h"
#include "train/report/chart.h"

namespace mono::report {

struct Prediction {
  std::string site;  // "HUVEC-18_1_B02_1"
  std::string experiment, plate, well;
  int label = -1, predicted = -1;  // -1: unknown
};

// The rows of an evaluation's CSV. Plate and well come from the screen, and from the site's name
// where there is none. Errors: data.
std::vector<Prediction> read_predictions(const std::filesystem::path& csv, const Dataset* dataset);

// The names of labels, where the screen tells: of each label the treatment of its first site.
std::map<int, std::string> class_names(const std::vector<Prediction>& predictions,
                                       const Dataset* dataset);

struct HardClasses {
  HeatMap map;  // hardest classes against what they are taken for, in percent of their images
  Table table;  // class, images, right, most often taken for
  double share_of_perfect = 0;  // of the classes: all of their images are right
  int64_t images = 0;           // that have both a label and an answer
};
// The `most` classes of lowest accuracy; without rows where nothing is labelled.
HardClasses hard_classes(const std::vector<Prediction>& predictions,
                         const std::map<int, std::string>& names, size_t most = 12);

// Percent right by place, of all plates together: layout effects.
HeatMap by_well(const std::vector<Prediction>& predictions);
// A small map of each plate, the worst first; at most `most`. Their scale is 0..100.
std::vector<HeatMap> by_plate(const std::vector<Prediction>& predictions, size_t most = 48);

}  // namespace mono::report
