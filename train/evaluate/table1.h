// Table 1 of RxRx1: separated and stratified accuracy, their ratio (batch generalisation) and batch
// accuracy of each method, mean and standard deviation over seeds, beside the published figures.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "train/data/dataset.h"
#include "train/json.h"
#include "train/recipe.h"

namespace mono {

// Of one seed, fractions. Batch generalisation = separated / stratified.
struct Table1Figures {
  double separated = 0, stratified = 0;
  std::optional<double> batch_accuracy;  // stratified test images
};

struct Table1Row {
  std::string method;                             // "adabn"
  std::string statistics;                         // of its batch norms at evaluation
  bool control = false;                           // a row that the paper does not have
  std::vector<Table1Figures> seeds = {};          // at least one
  std::map<std::string, PaperFigure> paper = {};  // percent, by column; empty where there is none
};

struct Table1 {
  std::string name;                    // "smoke/rxrx1/table1"
  bool paper_scale = false;            // the paper's recipes, untouched, on all of the real screen
  std::string stratified_by = "well";  // or "image"
  std::vector<int64_t> seeds;
  std::vector<Table1Row> rows;
};

struct MeanSd {
  double mean = 0;
  std::optional<double> sd;  // of the sample (n - 1); none from one value
};
MeanSd mean_sd(const std::vector<double>& values);

// "75.1 ± 0.2", and tables of such cells, their columns as wide as the widest cell so that the
// source reads as a table too; the first row is the head.
std::string text_of(const MeanSd& value);
std::string text_of(const PaperFigure& figure);
std::string markdown(const std::vector<std::vector<std::string>>& rows);

// The columns by their keys: separated, stratified, batch_generalisation, batch_accuracy; the
// values of a row, in percent, one a seed (none where there is no batch head).
const std::vector<std::string>& table1_columns();
std::vector<double> column_values(const Table1Row& row, const std::string& column);

// Whether a screen is RxRx1 itself: all of its images, classes and experiments are there.
bool is_complete_rxrx1(const Dataset& dataset);

std::string table1_markdown(const Table1& table);
Json table1_json(const Table1& table);

}  // namespace mono
