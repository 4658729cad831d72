// The tables and figures of Sypetkowski et al., and RxRx1-WILDS.
#include <fmt/format.h>

#include "train/embedded_recipes.h"
#include "train/reproduce/catalogue.h"

namespace mono {
namespace {

const Column kSeparated{"separated", "separated", "accuracy", "separated"};
// Low where the network does not know which batch an image is of.
const Column kBatchAccuracy{
    "batch_accuracy", "batch accuracy", "batch_accuracy", "stratified", {}, true, Best::lowest};

// Accuracy on unseen experiments, in this order.
const std::vector<std::string> kBySeparated = {"separated"};

const std::vector<std::string> kMethods = {"baseline", "gradient-reversal", "adabn",
                                           "adabn-gradient-reversal"};
const std::vector<std::string> kCellTypes = {"HUVEC", "RPE", "HEPG2", "U2OS"};

Experiment table1() {
  Experiment table{"rxrx1/table1", "Four methods on unseen experiments and on seen ones"};
  table.columns = {
      kSeparated,
      {"stratified", "stratified", "accuracy", "stratified"},
      {"batch_generalisation", "batch generalisation", "accuracy", "separated", "stratified"},
      kBatchAccuracy};
  table.rows = rows_of("rxrx1/table1", kMethods);
  Row control{"baseline-posthoc", "controls/posthoc-bn"};
  control.beside_the_paper = "post-hoc experiment statistics (control, not AdaBN)";
  table.rows.insert(table.rows.begin() + 1, control);
  table.ordered_by = {"separated", "batch_generalisation", "batch_accuracy"};
  table.checks = {{.row = "adabn", .column = "separated", .than = "baseline"},
                  {.row = "gradient-reversal", .column = "batch_accuracy", .times_chance = 2}};
  table.note =
      "Separated: accuracy on the test images of experiments that were never seen in training. "
      "Stratified:\non wells of experiments that were. Batch generalisation is separated / "
      "stratified, seed by seed;\nbatch accuracy is the batch head's on the stratified test "
      "images.";
  return table;
}

Experiment table2() {
  Experiment table{"rxrx1/table2", "AdaBN with other augmentations and other backbones"};
  table.columns = {kSeparated};
  for (const char* variant :
       {"default", "no-cutmix", "mixup", "resnet50", "resnet101", "densenet121"})
    for (const char* method : {"baseline", "adabn"}) {
      const std::string name = fmt::format("{}-{}", variant, method);
      table.rows.push_back({name, "rxrx1/table2/" + name, {}});
    }
  table.ordered_by = kBySeparated;
  return table;
}

Experiment table3() {
  Experiment table{"rxrx1/table3", "Table 1's models on each cell type"};
  for (const std::string& type : kCellTypes)
    table.columns.push_back({type, type, "accuracy_by_cell_type/" + type, "separated"});
  table.rows = rows_of("rxrx1/table1", kMethods);
  table.ordered_by = kCellTypes;
  return table;
}

Experiment table4() {
  Experiment table{"rxrx1/table4", "Three training experiments of one cell type"};
  table.columns = {kSeparated};
  for (const std::string& method : kMethods)
    for (const std::string& type : kCellTypes) {
      const std::string name = method + "-" + type;
      table.rows.push_back({name, "rxrx1/table4/" + name, {}});
    }
  table.ordered_by = kBySeparated;
  table.note = "Accuracy on the test experiments of the cell type that the row names.";
  return table;
}

Experiment normalisations(const char* id, const char* title) {
  Experiment table{id, title};
  table.columns = {kSeparated};
  table.rows = rows_of(
      id, {"all", "control-experiment", "all-experiment", "control-plate", "all-plate", "self"});
  table.ordered_by = kBySeparated;
  return table;
}

// Figures of runs of Table 1, the first seed of each.
Experiment of_table1(const char* id, const char* title, const std::vector<std::string>& methods) {
  Experiment figure{id, title};
  figure.columns = {kSeparated};
  figure.rows = rows_of("rxrx1/table1", methods);
  figure.replicates = 1;
  return figure;
}

Experiment figure6() {
  Experiment figure = of_table1("rxrx1/fig6", "UMAP of HUVEC test embeddings, by experiment",
                                {"baseline", "gradient-reversal", "adabn"});
  figure.needs_classes = false;
  return figure;
}

Experiment channel_figure(const char* id, const char* title) {
  Experiment figure{id, title};
  figure.columns = {kSeparated};
  for (const std::string& channels : channel_subsets(6)) {
    Row row{channels, "rxrx1/fig9/" + channels, {}};
    row.rehearsed = channels.find_first_not_of("123") == channels.npos;
    figure.rows.push_back(row);
  }
  figure.ordered_by = kBySeparated;
  figure.note =
      "One training for each subset of the channels (in a rehearsal: of the first three).";
  return figure;
}

Experiment figure10() {
  Experiment figure{"rxrx1/fig10", "Test accuracy after each epoch"};
  figure.columns = {kSeparated};
  figure.rows = rows_of("rxrx1/fig10", {"baseline", "adabn"});
  figure.note =
      "Test accuracy is recorded beside training and decides nothing: the last epoch stands for a "
      "run.";
  return figure;
}

Experiment wilds() {
  Experiment table{"wilds", "RxRx1-WILDS: three channels, 256 x 256 pixels, ResNet-50"};
  table.columns = {{"separated", "OOD test accuracy", "accuracy", "separated"}};
  table.rows = rows_of("wilds", {"erm", "dann", "adabn"});
  table.rows[2].beside_the_paper = "nobody has published it";
  table.ordered_by = kBySeparated;
  table.note =
      "The published figures are other people's: ERM of WILDS, DANN of \"DANN + ELS\". The nearest "
      "to AdaBN\nis ARM-BN, 31.2 ± 0.1 in Meta-DMoE's Table 1.";
  return table;
}

}  // namespace

std::vector<Experiment> rxrx1_experiments() {
  std::vector<Experiment> list = {
      table1(),
      table2(),
      table3(),
      table4(),
      normalisations("rxrx1/table5", "Normalisation, baseline"),
      normalisations("rxrx1/table6", "Normalisation, AdaBN"),
      {"rxrx1/fig1c", "Two siRNAs in four HUVEC experiments"},
      {"rxrx1/fig2", "One site: all channels together, and each of them"},
      {"rxrx1/fig3", "Five siRNAs in five experiments"},
      {"rxrx1/fig4", "Four siRNAs on one plate; one siRNA in four cell types"},
      {"rxrx1/fig5", "The model"},
      figure6(),
      of_table1("rxrx1/fig7", "Cosine similarities of the same and of different perturbations",
                {"baseline", "adabn"}),
      channel_figure("rxrx1/fig8", "Shapley value of each channel"),
      channel_figure("rxrx1/fig9", "Accuracy with each subset of the channels"),
      figure10(),
      wilds(),
  };
  return list;
}

}  // namespace mono
