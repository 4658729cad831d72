// The papers' figures: each a function of data in memory, which gives drawings or one picture, a
// caption that says what is seen and on what, and the numbers behind it.
//
//   Figure figure = similarity_figure(methods);
//   show(page, figure);                   // in a report
//   write_figure(figure, "runs/fig7");    // rxrx1_fig7.svg or .png, and rxrx1_fig7.json
//
// Whether the data are the paper's is for whoever calls to say (label()): captions count what was
// drawn, they do not compare. Nothing here reads or writes a run. The same data give the same
// bytes.
#pragma once

#include <cstdint>
#include <filesystem>
#include <map>
#include <span>
#include <string>
#include <vector>

#include "models/registry.h"
#include "train/data/dataset.h"
#include "train/data/image_source.h"
#include "train/evaluate/embedded_images.h"
#include "train/json.h"
#include "train/report/page.h"
#include "train/report/spread.h"
#include "train/report/svg.h"
#include "train/report/table.h"

namespace mono::report {

struct Figure {
  std::string name;  // the stem of its files: "rxrx1_fig7"
  std::string title;
  std::string caption;
  std::vector<Svg> panels;        // drawings, in the order of reading; or
  std::vector<uint8_t> png;       // one picture
  Table table;                    // the numbers behind it, for people
  Json numbers = Json::object();  // and for programs
};

// Says in the caption and in every picture, whose files may be passed on alone, what the figure was
// made of where that is not the paper's: "smoke recipes, synthetic data".
void label(Figure& figure, const std::string& scale);

// NAME.svg (or NAME_1.svg, ...) or NAME.png, and NAME.json with title, caption and numbers, in
// `folder`, which must exist. Returns what was written. Error: storage.
std::vector<std::filesystem::path> write_figure(const Figure& figure,
                                                const std::filesystem::path& folder);
// A subsection of the page, which must have a section.
void show(Page& page, const Figure& figure);

// ---- embeddings ---------------------------------------------------------------------------------

struct UmapFigureOptions {
  std::string name = "rxrx1_fig6";
  bool z_norm = false;      // a second panel for each method: after Z-norm by all images of a batch
  bool inset = false;       // a part, enlarged, coloured by treatment
  int most_images = 20000;  // of more, so many drawn by `seed`
  uint64_t seed = 0;
};
// RxRx1, Figure 6 (of_widest_cell_type() of each run); CDCL, Figures 1 and 2 with z_norm and inset.
// A panel for each method: UMAP of its embeddings, coloured by experiment. The numbers: of how many
// of the 14 nearest points in the picture (fewer, where there are not so many) experiment and
// treatment are the point's own, beside what chance would give, and (up to 3,000 images) the
// picture's trustworthiness. Of treatments that are unknown there is no number.
Figure umap_figure(std::span<const EmbeddedImages> methods, const UmapFigureOptions& options = {});

struct SimilarityFigureOptions {
  std::string name = "rxrx1_fig7";
  int64_t most_pairs = 1000000;  // of each distribution; of more, so many are drawn by `seed`
  uint64_t seed = 0;
};
// RxRx1, Figure 7: cosine similarities of images of the same (blue) and of different treatments
// (green), within an experiment and across experiments of the same cell type (of any, where cell
// types are unknown): two panels a method,
// each with the Kolmogorov-Smirnov statistic and the Wasserstein distance of its two distributions.
// Every pair counts, or a sample of stated size. Images of unknown treatment are left out. A panel
// without pairs is not drawn, and the caption says so.
Figure similarity_figure(std::span<const EmbeddedImages> methods,
                         const SimilarityFigureOptions& options = {});

// ---- channels -----------------------------------------------------------------------------------

// Accuracies (0..1) of models trained on subsets of n channels: 2^n of them, channel c (from 0)
// being bit c, each over the seeds that were run; none: not run. [0] is chance: what a model
// without an input reaches.
struct ChannelAccuracies {
  std::string title;               // of the method: "Baseline"
  std::vector<std::string> names;  // (n) of channels: "1 nuclei"
  std::vector<Spread> accuracy;    // (2^n)
};
// Of accuracies by the digits of a subset ("1", "12", "123": as recipes are named), a value for
// each seed; a subset that is absent was not run.
ChannelAccuracies channel_accuracies(std::string title, std::vector<std::string> names,
                                     double chance,
                                     const std::map<std::string, std::vector<double>>& seeds);
// RxRx1, Figure 8: Shapley value of each channel, in points of accuracy; they sum to the full
// model's accuracy minus chance. Error: data where a subset was not run (named).
Figure shapley_figure(std::span<const ChannelAccuracies> methods);
// RxRx1, Figure 9: the accuracy of every subset, and below it which channels it holds.
Figure channel_subsets_figure(const ChannelAccuracies& method);

// ---- training -----------------------------------------------------------------------------------

// Test accuracy (0..1) after each epoch, of one method, a curve for each seed.
struct AccuracyCurves {
  struct Curve {
    uint64_t seed = 0;
    std::vector<double> epoch, accuracy;
  };
  std::string title;
  std::vector<Curve> seeds;
};
// RxRx1, Figure 10: mean and standard deviation over seeds, and how many they are.
Figure accuracy_curves_figure(std::span<const AccuracyCurves> methods);

// ---- the model ----------------------------------------------------------------------------------

struct ModelFigureOptions {
  int image_size = 512;
  BatchHead::Mode batch_head = BatchHead::Mode::detached;
};
// RxRx1, Figure 5: the network, from its registered parameters: a box for each stage with the shape
// that leaves it, found by running one image through the built model. Any model of the registry.
Figure model_figure(const std::string& model, const ModelOptions& model_options,
                    const ModelFigureOptions& options = {});

// ---- pictures of the screen ---------------------------------------------------------------------

struct MontageFigureOptions {
  int tile = 256;  // pixels
  uint64_t seed = 0;
};
// The figures below choose treatments, experiments and sites by seed among the sites that have all
// of their images. A screen that lacks what a figure shows (five experiments, four cell types) is
// shown with what it has, and the caption says so. Error: data where no site is complete.

// RxRx1, Figure 1c (2 treatments, 4 experiments), Figure 3 (5, 5) and CDCL, Figure 3 (2, 6, turned:
// treatments are columns): the same treatments in several experiments of one cell type.
Figure treatments_by_experiment_figure(const std::string& name, const Dataset& dataset,
                                       const ImageSource& images, int treatments, int experiments,
                                       bool treatments_are_columns = false,
                                       const MontageFigureOptions& options = {});
// RxRx1, Figure 2: one site: all channels together, then each of them.
Figure channels_figure(const Dataset& dataset, const ImageSource& images,
                       const MontageFigureOptions& options = {});
// RxRx1, Figure 4: four treatments on one plate; one treatment in every cell type.
Figure cell_types_figure(const Dataset& dataset, const ImageSource& images,
                         const MontageFigureOptions& options = {});

}  // namespace mono::report
