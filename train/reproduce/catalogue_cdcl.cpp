// The tables and figures of Haslum et al., and what stands beside them.
#include "train/reproduce/catalogue.h"

namespace mono {
namespace {

// In the order of the paper's tables.
const std::vector<std::string> kMethods = {"supervised",  "ssl-dino",    "ssl-byol",
                                           "ssl-dino-cb", "ssl-byol-cb", "cdcl"};

Column column(const char* key, const char* title, bool percent = true) {
  return {key, title, key, {}, {}, percent};
}

// How alike a screen's controls are says how much grit is worth, and nothing about a method.
Column control_std(const char* key, const char* title) {
  return {key, title, key, {}, {}, false, Best::nothing};
}

std::vector<Column> table1_columns() {
  return {column("lin", "Lin."),
          column("lin_offline", "Lin. offline"),
          column("knn", "k-NN"),
          column("z_norm_knn", "Z-norm k-NN (all)"),
          column("z_norm_knn_controls", "Z-norm k-NN (controls)"),
          column("z_norm_knn_minibatch92", "Z-norm k-NN (minibatch92)"),
          column("kbet", "k-BET")};
}

// Floors learn nothing and start from nothing that was learnt, whatever --weights says.
std::vector<Row> floors() {
  const std::vector<std::string> sets = {"train.epochs=0", "model.weights=''",
                                         "model.init_from=''"};
  Row untrained{"untrained", "controls/untrained", sets};
  untrained.beside_the_paper = "floor: a network that was never trained";
  Row histogram{"intensity-histogram", "controls/intensity-histogram", sets};
  histogram.beside_the_paper = "floor: histograms of the pixels";
  return {untrained, histogram};
}

std::vector<Row> with_floors(const std::vector<Row>& more) {
  std::vector<Row> rows = floors();
  rows.insert(rows.end(), more.begin(), more.end());
  return rows;
}

constexpr const char* kTable1Note =
    "Lin.: the online probe (supervised: its classifier). Z-norm in its three modes; `all`, what "
    "the\npublished code does, is the headline. k-BET: consistent form, of the test experiments.";

Experiment table1() {
  Experiment table{"cdcl/table1", "Six methods on the test experiments of the folds"};
  table.columns = table1_columns();
  table.rows = with_floors(rows_of("cdcl/table1", kMethods));
  Row original{"ssl-dino-original", "cdcl/table1/ssl-dino-original"};
  original.beside_the_paper = "DINO with its own paper's settings";
  table.rows.insert(table.rows.end() - 1, original);
  table.ordered_by = {"lin", "knn", "z_norm_knn", "kbet"};
  table.checks = {
      {.row = "cdcl", .column = "z_norm_knn", .than = "ssl-dino", .margin = 5},
      {.row = "cdcl", .column = "kbet", .than = "ssl-dino"},
  };
  table.note = kTable1Note;
  return table;
}

Experiment table2a() {
  Experiment table{"cdcl/table2a", "CPG0004: mechanism of action of the nearest other compound"};
  table.screen = ScreenKind::cpg0004;
  table.columns = {column("moa_1nn", "1-NN MoA accuracy")};
  table.rows = rows_of("cdcl/table2a", {"imagenet", "supervised", "cdcl", "imagenet-finetuned",
                                        "supervised-finetuned", "cdcl-finetuned"});
  table.rows[4].starts_from = "supervised";
  table.rows[5].starts_from = "cdcl";
  table.ordered_by = {"moa_1nn"};
  return table;
}

Experiment table2b() {
  Experiment table{"cdcl/table2b", "Trained on a part of the images"};
  table.columns = {column("z_norm_knn", "Z-norm k-NN (all)")};
  for (const std::string method : {"supervised", "cdcl"})
    for (const std::string part : {"controls", "treatments", "half-treatments", "half-sites"})
      table.rows.push_back({method + "-" + part, "cdcl/table2b/" + method + "-" + part, {}});
  table.ordered_by = {"z_norm_knn"};
  table.note =
      "The k-NN bank stays the whole training set. `half-treatments` is what the paper writes, "
      "`half-sites`\nwhat its code does.";
  return table;
}

Experiment table3() {
  Experiment table{"cdcl/table3", "The Barlow loss alone"};
  table.columns = table1_columns();
  table.rows = with_floors(rows_of("cdcl/table3", {"ssl-byol-bl", "ssl-dino-bl"}));
  table.ordered_by = {"lin", "knn", "z_norm_knn", "kbet"};
  table.note = kTable1Note;
  return table;
}

Experiment of_table1(const char* id, const char* title, std::vector<Column> columns) {
  Experiment table{id, title};
  table.columns = std::move(columns);
  table.rows = rows_of("cdcl/table1", kMethods);
  return table;
}

Experiment post_processing(const char* id, const char* title, const char* knn, const char* kbet) {
  Experiment table = of_table1(id, title,
                               {column("knn", "k-NN before"), column(knn, "k-NN after"),
                                column("kbet", "k-BET before"), column(kbet, "k-BET after")});
  table.note = "The paper: \"no clear improvement\".";
  return table;
}

Experiment comparison(const char* id, const char* title, std::vector<Row> rows) {
  Experiment table{id, title};
  table.columns = table1_columns();
  table.rows = std::move(rows);
  table.ordered_by = {"lin", "z_norm_knn"};
  return table;
}

// Of the first fold and seed.
Experiment picture(const char* id, const char* title) {
  Experiment figure = of_table1(id, title, {column("knn", "k-NN")});
  figure.replicates = 1;
  return figure;
}

}  // namespace

std::vector<Experiment> cdcl_experiments() {
  Row adabn{"adabn-supervised", "cdcl/adabn-supervised", {"model.weights=''"}};
  adabn.beside_the_paper = "DenseNet with AdaBN, from scratch";
  std::vector<Row> adabn_rows = rows_of("cdcl/table1", {"supervised", "cdcl"});
  adabn_rows.push_back(adabn);
  std::vector<Row> ablation = rows_of("cdcl/table1", {"cdcl", "ssl-dino-cb"});
  for (Row& row : rows_of("cdcl/ablation", {"centring", "barlow"})) {
    row.name = "without-" + row.name;
    ablation.push_back(row);
  }
  Experiment table4 = of_table1("cdcl/table4", "How well batches mix: k-BET",
                                {column("kbet_train", "train"), column("kbet", "test"),
                                 column("kbet_z_norm", "test, Z-norm")});
  Experiment table5 =
      of_table1("cdcl/table5", "How far treatments stand out: grit",
                {column("grit_train", "train", false), column("grit", "test", false),
                 column("grit_z_norm", "test, Z-norm", false),
                 control_std("grit_control_std", "control std, test")});
  table4.ordered_by = {"kbet_train", "kbet", "kbet_z_norm"};
  table5.ordered_by = {"grit_train", "grit", "grit_z_norm"};
  table5.note =
      "A plain number. It grows without bound where the similarities among controls hardly differ, "
      "so\ntheir standard deviation stands beside it.";
  std::vector<Row> backbones = rows_of("cdcl/backbone", {"deit_small", "resnet50"});
  for (Row& row : backbones) {
    row.sets = {"model.weights=''"};  // one file cannot be of both networks
    row.beside_the_paper = "from scratch";
  }
  std::vector<Experiment> all = {
      table1(),
      table2a(),
      table2b(),
      table3(),
      table4,
      table5,
      picture("cdcl/fig1", "UMAP of test features, by batch"),
      picture("cdcl/fig2", "UMAP of test features, by treatment, before and after Z-norm"),
      {"cdcl/fig3", "Two treatments in six batches"},
      post_processing("cdcl/tvn", "Typical variation normalisation after the fact", "tvn_knn",
                      "tvn_kbet"),
      post_processing("cdcl/combat", "ComBat after the fact", "combat_knn", "combat_kbet"),
      comparison("cdcl/adabn-supervised",
                 "The comparison that neither paper makes: AdaBN on the folds of CDCL",
                 std::move(adabn_rows)),
      comparison("cdcl/backbone", "A transformer or a convolutional network, supervised",
                 std::move(backbones)),
      comparison("cdcl/ablation", "CDCL without one of its two parts", std::move(ablation)),
  };
  for (Experiment& experiment : all) experiment.cdcl = true;
  return all;
}

}  // namespace mono
