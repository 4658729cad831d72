// RxRx1, Figure 5: what the tape of one forward pass says of a model.
#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "kernels/base/error.h"
#include "nn/context.h"
#include "train/report/figures.h"
#include "train/report/plot.h"

namespace mono::report {
namespace {

constexpr int kImages = 2;  // batch norm needs more than one
constexpr double kLeft = 2;

// Operations that leave one extent of space: a box of the diagram.
struct Stage {
  std::vector<std::pair<std::string, int>> operations;  // how often each, in the order of the first
  Shape shape;                                          // that leaves it
  int dense_layers = 0;

  void add(const Tape::Step& step) {
    std::string name = step.op == "batch_norm_relu" ? "batch norm, ReLU" : step.op;
    std::ranges::replace(name, '_', ' ');
    const auto found = std::ranges::find(operations, name, &std::pair<std::string, int>::first);
    if (found == operations.end())
      operations.emplace_back(name, 1);
    else
      ++found->second;
    if (!above(step.outputs.front())) shape = step.outputs.front();
  }
  // Whether a map is larger than what leaves the stage: ResNet's shortcut, which halves it, runs
  // before the other convolutions of its block.
  bool above(const Shape& map) const {
    return map.rank() == 4 && shape.rank() == 4 && map[1] > shape[1];
  }
  std::vector<std::string> lines() const {
    std::vector<std::string> text;
    for (const auto& [name, times] : operations)
      text.push_back(name == "dense block" ? fmt::format("dense block, {} layers", dense_layers)
                     : times == 1          ? name
                                           : fmt::format("{} × {}", times, name));
    return text;
  }
};

// "64 × 64 × 384", without the images.
std::string shape_text(const Shape& shape) {
  std::string text;
  for (int i = 1; i < shape.rank(); ++i)
    text += fmt::format("{}{}", i > 1 ? " × " : "", figure_text(shape[i], 0));
  return text;
}

bool same_space(const Shape& a, const Shape& b) {
  if (a.rank() != b.rank() || a.rank() < 3) return false;
  for (int i = 1; i + 1 < a.rank(); ++i)
    if (a[i] != b[i]) return false;
  return true;
}

// What a diagram is made of.
struct Built {
  std::vector<Stage> space;   // maps and tokens
  std::vector<Stage> vector;  // from the pooled features to the embedding
  std::vector<Stage> head, batch_head;
  bool reversed = false;
  bool embedding_is_rectified = false;
  int64_t parameters = 0, backbone = 0;
  std::string stem;  // "7 × 7 × 6"
};

// How many matrices of the batch head the model has registered.
int batch_matrices(const Model& model) {
  int count = 0;
  for (const Parameter& p : model.arena().parameters())
    count += p.name.starts_with("batch_head.") && p.shape.rank() == 2;
  return count;
}

Built build(const std::string& name, const ModelOptions& model_options,
            const ModelFigureOptions& options) {
  const std::unique_ptr<Model> model = make_model(name, model_options);
  model->initialise(DType::f32, 0);
  const Tensor images = Tensor::empty(
      {kImages, options.image_size, options.image_size, model_options.channels}, DType::f32);
  float* pixel = images.data<float>();
  for (int64_t i = 0; i < images.shape().elements(); ++i)
    pixel[i] = static_cast<float>(i * 7919 % 257) / 128 - 1;
  Tape tape;
  const SegmentTable segments({0, kImages}, Device::cpu);
  const ForwardContext context{.tape = &tape, .segments = segments, .norm = {}};
  const ModelOutput output =
      model->forward(Variable(images), context, {.mode = options.batch_head});

  Built built;
  for (const Parameter& p : model->arena().parameters()) {
    built.parameters += p.elements();
    if (p.name.starts_with("backbone.")) built.backbone += p.elements();
    if (built.stem.empty() && p.shape.rank() == 4)
      built.stem = fmt::format("{} × {} × {}", p.shape[1], p.shape[2], p.shape[3]);
  }

  // From the end: the batch branch's matrices, the head's one, and what makes the embedding.
  const std::vector<Tape::Step> steps = tape.steps();
  int matrices_after = (output.batch.defined() ? batch_matrices(*model) : 0) + 1;
  size_t head = steps.size();
  while (matrices_after > 0) {
    MONO_CHECK(head > 0, "{}: its tape ends without the heads", name);
    matrices_after -= steps[--head].op == "linear";
  }
  int blocks = 0;
  for (size_t i = 0; i < steps.size(); ++i) {
    const Tape::Step& step = steps[i];
    MONO_CHECK(!step.outputs.empty(), "{}: an operation '{}' without a gradient", name, step.op);
    built.reversed |= step.op == "gradient_reversal";
    const Shape& shape = step.outputs.front();
    std::vector<Stage>& list = i == head           ? built.head
                               : i > head          ? built.batch_head
                               : shape.rank() >= 3 ? built.space
                                                   : built.vector;
    const bool joins = !list.empty() && (shape.rank() >= 3 ? same_space(list.back().shape, shape) ||
                                                                 list.back().above(shape)
                                                           : step.op != "linear");
    if (!joins) list.emplace_back();
    list.back().add(step);
    if (step.op == "dense_block") {
      const std::string prefix = fmt::format("denseblock{}.denselayer", ++blocks);
      for (const Parameter& p : model->arena().parameters())
        list.back().dense_layers +=
            p.name.find(prefix) != p.name.npos && p.name.ends_with("conv1.weight");
    }
  }
  built.embedding_is_rectified = head > 0 && steps[head - 1].op == "batch_norm_relu";
  return built;
}

void arrow(Drawing& drawing, double x1, double y1, double x2, double y2, bool dashed = false) {
  drawing.line(x1, y1, x2, y2, dashed ? "ln th s7 da" : "ln th s7");
  const double length = std::hypot(x2 - x1, y2 - y1), ux = (x2 - x1) / length,
               uy = (y2 - y1) / length;
  drawing.path(fmt::format("M{} {}L{} {}L{} {}Z", coordinate(x2), coordinate(y2),
                           coordinate(x2 - 8 * ux - 4 * uy), coordinate(y2 - 8 * uy + 4 * ux),
                           coordinate(x2 - 8 * ux + 4 * uy), coordinate(y2 - 8 * uy - 4 * ux)),
               "f7");
}

void outlined(Drawing& drawing, double x, double y, double width, double height, int colour) {
  drawing.rect(x, y, width, height, "pa");
  drawing.rect(x, y, width, height, fill_of(colour) + " bd");
  drawing.rect(x, y, width, height, "no th " + stroke_of(colour));
}

// A box of text: lines, the last of them the shape.
void text_box(Drawing& drawing, double x, double y, double width, double height,
              const std::vector<std::string>& lines, int colour) {
  outlined(drawing, x, y, width, height, colour);
  const double first = y + height / 2 - 7.5 * static_cast<double>(lines.size() - 1) + 4;
  for (size_t i = 0; i < lines.size(); ++i)
    drawing.text(x + width / 2, first + 15 * static_cast<double>(i),
                 fitted(lines[i], width - 6, i + 1 == lines.size() ? 12.5 : 12),
                 i + 1 == lines.size() ? "sm bo" : "sm", Anchor::middle);
}

std::vector<std::string> with_shape(const Stage& stage, const std::string& unit = {}) {
  std::vector<std::string> lines = stage.lines();
  lines.push_back(shape_text(stage.shape) + unit);
  return lines;
}

}  // namespace

Figure model_figure(const std::string& model, const ModelOptions& model_options,
                    const ModelFigureOptions& options) {
  const Built built = build(model, model_options, options);
  Figure figure;
  figure.name = "rxrx1_fig5";
  figure.title = "The model";

  size_t most_lines = 1;
  for (const Stage& stage : built.space) most_lines = std::max(most_lines, stage.operations.size());
  const double kMap = 96, kTop = 44, kBox = 74;
  const double columns = static_cast<double>(built.space.size() + 1);
  const double width = std::max(150.0 * columns, 760.0) + 24;
  const double cell = (width - 24) / columns;
  const double second_row = kTop + kMap + 40 + 15 * static_cast<double>(most_lines) + 50;
  const double height = second_row + 2 * kBox + 26;
  Drawing drawing(width, height, fmt::format("The model {}", model),
                  "From the image to the classes: a box for each stage, with the shape that leaves "
                  "it.");
  draw_title(drawing, model);

  // The image and the maps: sheets whose side follows their extent.
  const auto sheet = [&](size_t i, double share, const std::vector<std::string>& lines,
                         const std::string& shape, int colour) {
    const double side = std::clamp(kMap * std::sqrt(share), 20.0, kMap);
    const double centre = cell * (static_cast<double>(i) + 0.5), middle = kTop + kMap / 2 + 4;
    for (int s = 2; s >= 0; --s)
      outlined(drawing, centre - side / 2 + 4 * s, middle - side / 2 - 4 * s, side, side, colour);
    double y = kTop + kMap + 28;
    drawing.text(centre, y, fitted(shape, cell - 4, 12.5), "sm bo", Anchor::middle);
    for (const std::string& line : lines)
      drawing.text(centre, y += 15, fitted(line, cell - 8, 12), "sm mu", Anchor::middle);
    return std::pair{centre - side / 2, centre + side / 2 + 8};
  };
  const double middle = kTop + kMap / 2 + 4;
  const std::string size = figure_text(options.image_size, 0);
  auto [left, right] =
      sheet(0, 1, {"image"}, fmt::format("{} × {} × {}", size, size, model_options.channels),
            Colour::ink);
  Json stages = Json::array();
  for (size_t i = 0; i < built.space.size(); ++i) {
    const Stage& stage = built.space[i];
    const double extent = stage.shape.rank() == 4 ? stage.shape[1] : std::sqrt(stage.shape[1]);
    std::vector<std::string> lines = stage.lines();
    if (i == 0 && lines.front() == "convolution")
      lines.front() = fmt::format("convolution {}", built.stem);
    const double before = right;
    std::tie(left, right) =
        sheet(i + 1, extent / options.image_size, lines, shape_text(stage.shape), Colour::blue);
    arrow(drawing, before + 4, middle, left - 4, middle);
  }

  // Vectors, then the two heads.
  const double boxes = static_cast<double>(built.vector.size()) + 1;
  const double step = (width - 8) / boxes, box_width = std::min(step - 34, 190.0);
  const double row = second_row + kBox / 2 + 6;
  const double turn = second_row - 26;
  drawing.path(fmt::format("M{} {}H{}V{}H{}V{}", coordinate(right + 4), coordinate(middle),
                           coordinate(width - 6), coordinate(turn),
                           coordinate(kLeft + box_width / 2), coordinate(row - 10)),
               "ln th s7");
  arrow(drawing, kLeft + box_width / 2, row - 12, kLeft + box_width / 2, row - 2);
  double from = 0;
  for (size_t i = 0; i < built.vector.size(); ++i) {
    const double x = kLeft + step * static_cast<double>(i);
    const bool embedding = i + 1 == built.vector.size();
    text_box(drawing, x, row, box_width, kBox,
             with_shape(built.vector[i], embedding ? ": the embedding" : ""),
             embedding ? Colour::orange : Colour::blue);
    if (i > 0) arrow(drawing, from + 4, row + kBox / 2, x - 4, row + kBox / 2);
    from = x + box_width;
  }
  const double x = kLeft + step * static_cast<double>(built.vector.size());
  const bool branches = !built.batch_head.empty();
  const double upper = branches ? row - kBox / 2 - 6 : row, lower = row + kBox / 2 + 6;
  arrow(drawing, from + 4, row + kBox / 2, x - 4, upper + kBox / 2);
  text_box(drawing, x, upper, box_width, kBox, with_shape(built.head.front(), " perturbations"),
           Colour::green);
  if (branches) {
    arrow(drawing, from + 4, row + kBox / 2, x - 4, lower + kBox / 2, true);
    std::vector<std::string> lines = {built.reversed ? "gradient reversed"
                                                     : "detached: no gradient"};
    for (const Stage& stage : built.batch_head)
      for (const std::string& line : stage.lines())
        if (line != "gradient reversal") lines.push_back(line);
    lines.push_back(shape_text(built.batch_head.back().shape) + " experiments");
    text_box(drawing, x, lower, box_width, kBox, lines, Colour::vermilion);
  }
  figure.panels.push_back(drawing.finish());

  figure.table.caption = "Stages";
  figure.table.columns = {{"operations", false}, {"shape", true}};
  const auto list = [&](const std::vector<Stage>& of) {
    for (const Stage& stage : of) {
      std::string operations;
      for (const std::string& line : stage.lines())
        operations += (operations.empty() ? "" : ", ") + line;
      figure.table.rows.push_back({operations, shape_text(stage.shape)});
      Json entry = Json::object();
      entry["operations"] = operations;
      Json shape = Json::array();
      for (int i = 1; i < stage.shape.rank(); ++i) shape.push_back(stage.shape[i]);
      entry["shape"] = std::move(shape);
      stages.push_back(std::move(entry));
    }
  };
  for (const std::vector<Stage>* of : {&built.space, &built.vector, &built.head, &built.batch_head})
    list(*of);
  figure.numbers["model"] = model;
  figure.numbers["parameters"] = built.parameters;
  figure.numbers["stages"] = std::move(stages);
  figure.caption = fmt::format(
      "{} with {} parameters{}, drawn from the built model: the operations of one forward pass at "
      "{} × {} pixels, and the shapes that leave them.{}{}",
      model, figure_text(static_cast<double>(built.parameters), 0),
      built.backbone > 0 ? fmt::format(", {} of them the backbone's",
                                       figure_text(static_cast<double>(built.backbone), 0))
                         : "",
      options.image_size, options.image_size,
      built.embedding_is_rectified ? " The embedding passes a ReLU: it is nowhere negative." : "",
      !branches ? ""
      : built.reversed
          ? " The head for experiments learns through a reversed gradient: the "
            "embedding is driven to tell it nothing."
          : " The head for experiments is detached: it measures how much the embedding "
            "tells about them and changes nothing.");
  return figure;
}

}  // namespace mono::report
