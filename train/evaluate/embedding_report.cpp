#include "train/evaluate/embedding_report.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <functional>
#include <set>

#include "kernels/base/error.h"
#include "train/evaluate/grit.h"
#include "train/evaluate/moa.h"
#include "train/evaluate/post_processing.h"
#include "train/evaluate/z_norm.h"

namespace mono {
namespace {

// A covariance of fewer rows than that has directions of hardly any variance, which whitening blows
// up.
constexpr int64_t kControlsPerFeature = 10;

// What the measures are taken on: the rows of bank and queries, and which are which.
struct Subject {
  EmbeddingSet set;
  std::vector<int> bank, queries;  // rows of the set; the same where leave_one_out
  bool leave_one_out = false;
  std::string bank_part = "all", query_part = "all";
};

std::vector<int> pick(const std::vector<int>& values, const std::vector<int>& rows) {
  std::vector<int> out;
  for (const int row : rows) out.push_back(values[static_cast<size_t>(row)]);
  return out;
}
std::vector<uint8_t> pick(const std::vector<uint8_t>& values, const std::vector<int>& rows) {
  std::vector<uint8_t> out;
  for (const int row : rows) out.push_back(values[static_cast<size_t>(row)]);
  return out;
}
Features pick(const Features& features, const std::vector<int>& rows) {
  Features out(static_cast<int>(rows.size()), features.width);
  for (int i = 0; i < out.rows; ++i)
    std::ranges::copy(features.row(rows[static_cast<size_t>(i)]), out.row(i).begin());
  return out;
}
void scatter(const Features& from, const std::vector<int>& rows, Features& to) {
  for (int i = 0; i < from.rows; ++i)
    std::ranges::copy(from.row(i), to.row(rows[static_cast<size_t>(i)]).begin());
}

bool has_part(const EmbeddingSet& set, Part part) {
  return std::ranges::find(set.part, part) != set.part.end();
}

Subject subject_of(const EmbeddingSet& set) {
  Subject subject;
  const Part asked = has_part(set, Part::test) ? Part::test : Part::validation;
  if (!has_part(set, Part::train) || !has_part(set, asked)) {
    subject.set = set;
    subject.leave_one_out = true;
    for (int i = 0; i < set.rows(); ++i) subject.bank.push_back(i);
    subject.queries = subject.bank;
    if (!set.part.empty() && std::ranges::count(set.part, set.part[0]) == set.rows())
      subject.bank_part = subject.query_part = name_of(set.part[0]);
    return subject;
  }
  // A row of the bank without a label says nothing.
  std::vector<uint8_t> marks;
  for (size_t i = 0; i < set.part.size(); ++i) {
    const bool labelled = !set.label.known() || set.label.of[i] >= 0;
    marks.push_back(set.part[i] == asked || (set.part[i] == Part::train && labelled));
  }
  subject.set = set.subset(marks);
  for (int i = 0; i < subject.set.rows(); ++i)
    (subject.set.part[static_cast<size_t>(i)] == Part::train ? subject.bank : subject.queries)
        .push_back(i);
  subject.bank_part = name_of(Part::train);
  subject.query_part = name_of(asked);
  return subject;
}

int distinct(const std::vector<int>& values) {
  return static_cast<int>(std::set<int>(values.begin(), values.end()).size());
}

// Runs f, which fills the measure; an error of the data becomes the reason.
Measure measure(std::string key, bool percent, const std::function<void(Measure&)>& f) {
  Measure result;
  result.key = std::move(key);
  result.percent = percent;
  try {
    f(result);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data && error.kind() != ErrorKind::diverged) throw;
    result.value.reset();
    result.left_out = error.what();
  }
  return result;
}

void require(const Coding& coding, const char* what) {
  if (!coding.known()) fail(ErrorKind::data, "the table has no column of {}", what);
  const int64_t without = std::ranges::count(coding.of, -1);
  if (without > 0 && std::string_view(what) == "batches")
    fail(ErrorKind::data, "{} rows have no batch in column {}", without, coding.column);
}

void require_controls(const Subject& subject) {
  if (subject.set.well_type.empty())
    fail(ErrorKind::data,
         "no controls are known: the table has no column of well types, and no label is DMSO or "
         "EMPTY");
}

// ---- measures ---------------------------------------------------------------------------------

Measure measure_knn(const Subject& s, const Features& x, const ReportOptions& options) {
  return measure("knn", true, [&](Measure& m) {
    require(s.set.label, "labels");
    const std::vector<int>& label = s.set.label.of;
    m.counts["k"] = options.knn.k;
    m.counts["temperature"] = options.knn.temperature;
    Knn result;
    if (s.leave_one_out) {
      result = knn_leave_one_out(x, label, s.set.well.known() ? s.set.well.of : std::vector<int>(),
                                 options.knn);
      m.counts["without"] = s.set.well.known() ? "own well" : "own row";
    } else {
      result = knn(pick(x, s.bank), pick(label, s.bank), pick(x, s.queries), pick(label, s.queries),
                   options.knn);
    }
    m.counts["bank"] = static_cast<int64_t>(s.bank.size());
    m.counts["queries"] = result.accuracy.images;
    if (result.accuracy.images == 0) fail(ErrorKind::data, "no query has a label");
    m.value = result.accuracy.value();
  });
}

// Leave-one-out with a bank of other batches: what remains when the batch cannot help.
Measure measure_knn_other_batches(const Subject& s, const Features& x,
                                  const ReportOptions& options) {
  return measure("knn_other_batches", true, [&](Measure& m) {
    require(s.set.label, "labels");
    require(s.set.domain, "batches");
    if (distinct(s.set.domain.of) < 2) fail(ErrorKind::data, "there is no other batch");
    const Knn result = knn_leave_one_out(x, s.set.label.of, s.set.domain.of, options.knn);
    m.counts["k"] = options.knn.k;
    m.counts["queries"] = result.accuracy.images;
    m.counts["batches"] = distinct(s.set.domain.of);
    m.value = result.accuracy.value();
  });
}

Measure measure_probe(const Subject& s, const Features& x, const ReportOptions& options) {
  return measure("linear_probe", true, [&](Measure& m) {
    require(s.set.label, "labels");
    if (s.leave_one_out)
      fail(ErrorKind::data, "a probe needs a training part besides the part that is asked");
    const LinearProbeResult result =
        linear_probe(pick(x, s.bank), pick(s.set.label.of, s.bank), s.set.label.count(),
                     pick(x, s.queries), pick(s.set.label.of, s.queries), options.probe);
    m.counts["epochs"] = options.probe.epochs;
    m.counts["batch"] = options.probe.batch;
    m.counts["bank"] = static_cast<int64_t>(s.bank.size());
    m.counts["queries"] = result.accuracy.images;
    if (result.accuracy.images == 0) fail(ErrorKind::data, "no query has a label");
    m.value = result.accuracy.value();
  });
}

Measure measure_kbet(const Subject& s, const Features& x, const std::vector<int>& rows,
                     const std::string& part, const ReportOptions& options) {
  return measure("kbet_" + part, true, [&](Measure& m) {
    require(s.set.domain, "batches");
    const Kbet result = kbet(pick(x, rows), pick(s.set.domain.of, rows), options.kbet);
    m.counts["samples"] = result.samples;
    m.counts["neighbours"] = result.neighbours;
    m.counts["batches"] = result.batches;
    m.counts["form"] = options.kbet.cdcl_compat ? "cdcl_compat" : "consistent";
    m.value = result.score;
  });
}

Measure measure_grit(const Subject& s, const Features& x, const std::vector<int>& rows,
                     const std::string& part) {
  return measure("grit_" + part, false, [&](Measure& m) {
    require(s.set.treatments(), "treatments");
    require_controls(s);
    std::vector<int> groups = pick(s.set.treatments().of, rows);
    for (size_t i = 0; i < groups.size(); ++i)
      if (s.set.well_type[static_cast<size_t>(rows[i])] == WellType::positive_control)
        groups[i] = -1;
    const Grit result = grit(pick(x, rows), groups, pick(s.set.negative_controls(), rows));
    m.counts["profiles"] = result.profiles;
    m.counts["groups"] = result.groups;
    m.counts["controls"] = result.controls;
    m.counts["control_std"] = result.control_std;
    m.counts["least_control_std"] = result.least_control_std;
    m.counts["without_replicate"] = result.without_replicate;
    m.counts["constant_controls"] = result.constant_controls;
    if (!std::isfinite(result.mean))
      fail(ErrorKind::data,
           "grit: no profile has one: {} without a replicate, {} whose similarities to the {} "
           "controls do not vary",
           result.without_replicate, result.constant_controls, result.controls);
    m.value = result.mean;
  });
}

Measure measure_moa(const Subject& s, const Features& x) {
  return measure("moa", true, [&](Measure& m) {
    require(s.set.treatments(), "treatments");
    require(s.set.moa, "mechanisms of action");
    if (!s.set.plate.known()) fail(ErrorKind::data, "the table has no column of plates");
    const std::vector<int> plate = pick(s.set.plate.of, s.queries),
                           treatment = pick(s.set.treatments().of, s.queries),
                           moa = pick(s.set.moa.of, s.queries);
    std::vector<int> compound;
    if (s.set.compound.known()) compound = pick(s.set.compound.of, s.queries);
    const std::vector<uint8_t> control = pick(s.set.negative_controls(), s.queries);
    const Moa result = one_nn_moa(pick(x, s.queries), {plate, treatment, compound, moa, control});
    m.counts["treatments"] = result.accuracy.images;
    m.counts["candidates"] = result.candidates;
    m.counts["controls"] = result.controls;
    m.counts["plates"] = result.plates;
    m.counts["plates_without_controls"] = result.whole_plates;
    m.value = result.accuracy.value();
  });
}

std::vector<Measure> measures_of(const Subject& s, const Features& x, bool probe,
                                 const ReportOptions& options) {
  std::vector<Measure> out = {measure_knn(s, x, options)};
  if (s.leave_one_out)
    out.push_back(measure_knn_other_batches(s, x, options));
  else
    out.push_back(measure_kbet(s, x, s.bank, s.bank_part, options));
  out.push_back(measure_kbet(s, x, s.queries, s.query_part, options));
  if (!s.leave_one_out) out.push_back(measure_grit(s, x, s.bank, s.bank_part));
  out.push_back(measure_grit(s, x, s.queries, s.query_part));
  out.push_back(measure_moa(s, x));
  if (options.linear_probe && probe) out.push_back(measure_probe(s, x, options));
  return out;
}

// ---- rows -------------------------------------------------------------------------------------

Features z_normed(const Subject& s, ZNorm mode) {
  require(s.set.domain, "batches");
  if (mode == ZNorm::controls) require_controls(s);
  const std::vector<uint8_t> control = s.set.controls();
  Features out(s.set.rows(), s.set.features.width);
  // CDCL standardises the bank by whole domains whatever it does to the queries.
  const ZNorm of_bank = mode == ZNorm::minibatch92 ? ZNorm::all : mode;
  for (const bool bank : {true, false}) {
    if (bank && s.leave_one_out) continue;
    const std::vector<int>& rows = bank ? s.bank : s.queries;
    scatter(z_norm(pick(s.set.features, rows), pick(s.set.domain.of, rows), pick(control, rows),
                   bank ? of_bank : mode),
            rows, out);
  }
  return out;
}

Features whitened(const Subject& s, Counts& counts) {
  const std::vector<uint8_t> negative = s.set.negative_controls();
  const bool by_controls =
      std::ranges::count(negative, uint8_t{1}) >= kControlsPerFeature * s.set.features.width;
  std::vector<uint8_t> fit = negative;
  if (!by_controls) {
    std::ranges::fill(fit, uint8_t{0});
    for (const int row : s.bank) fit[static_cast<size_t>(row)] = 1;
  }
  Whitened result = whiten(s.set.features, fit);
  counts["fitted_to"] = by_controls ? "negative controls" : "bank";
  counts["fitted"] = result.fitted;
  counts["rank"] = result.rank;
  return std::move(result.features);
}

Features tvn_normed(const Subject& s, const std::vector<uint8_t>& control, Counts& counts) {
  require(s.set.domain, "batches");
  require_controls(s);
  Tvn result = tvn(s.set.features, s.set.domain.of, control);
  counts["controls"] = result.controls;
  counts["least_controls_of_a_batch"] = result.least_controls;
  return std::move(result.features);
}

Features combat_normed(const Subject& s, Counts& counts) {
  require(s.set.domain, "batches");
  Combat result = combat(s.set.features, s.set.domain.of);
  counts["batches"] = result.domains;
  counts["constant_features"] = result.constant_features;
  return std::move(result.features);
}

ReportRow row(const Subject& s, const char* key, const char* title, const ReportOptions& options,
              bool probe, const std::function<Features(Counts&)>& process) {
  ReportRow out;
  out.key = key;
  out.title = title;
  try {
    const Features x = process(out.counts);
    out.measures = measures_of(s, x, probe, options);
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::data) throw;
    out.left_out = error.what();
  }
  return out;
}

std::string in_words(const Subject& s, const std::vector<int>& rows, const std::string& part) {
  std::string text = fmt::format("{} {}images", rows.size(), part == "all" ? "" : part + " ");
  if (s.set.domain.known()) {
    const int batches = distinct(pick(s.set.domain.of, rows));
    text += fmt::format(" of {} batch{}", batches, batches == 1 ? "" : "es");
  }
  return text;
}

Json described(const EmbeddingSet& set) {
  Json columns = Json::object();
  const auto name = [](const std::string& column) {
    return column.empty() ? Json() : Json(column);
  };
  columns["label"] = name(set.label.column);
  columns["domain"] = name(set.domain.column);
  columns["plate"] = name(set.plate.column);
  columns["well"] = name(set.well.column);
  columns["well_type"] = name(set.well_type_column);
  columns["moa"] = name(set.moa.column);
  columns["compound"] = name(set.compound.column);
  columns["part"] = name(set.part_column);
  return columns;
}

}  // namespace

EmbeddingReport report_on(const EmbeddingSet& set, const ReportOptions& options) {
  if (!set.label.known() && !set.domain.known())
    fail(ErrorKind::data,
         "the table has neither a column of labels nor one of batches; name them with --label and "
         "--batch");
  const Subject s = subject_of(set);
  EmbeddingReport report;
  report.rows = set.rows();
  report.width = set.features.width;
  report.bank = in_words(s, s.bank, s.bank_part);
  report.queries = in_words(s, s.queries, s.query_part);
  if (s.leave_one_out)
    report.queries = s.set.well.known() ? "the same, each without its own well"
                                        : "the same, each without itself";
  report.about["columns"] = described(set);
  report.about["bank"] = static_cast<int64_t>(s.bank.size());
  report.about["queries"] = static_cast<int64_t>(s.queries.size());
  report.about["bank_part"] = s.bank_part;
  report.about["query_part"] = s.query_part;
  report.about["leave_one_out"] = s.leave_one_out;
  report.about["classes"] = set.label.count();
  report.about["batches"] = set.domain.count();
  report.about["negative_controls"] =
      static_cast<int64_t>(std::ranges::count(s.set.negative_controls(), uint8_t{1}));
  report.about["positive_controls"] =
      static_cast<int64_t>(std::ranges::count(s.set.well_type, WellType::positive_control));

  const auto add = [&](const char* key, const char* title, bool probe, bool headline,
                       const std::function<Features(Counts&)>& process) {
    report.table.push_back(row(s, key, title, options, probe, process));
    report.table.back().headline = headline;
  };
  add("none", "as given", true, false, [&](Counts&) { return s.set.features; });
  add("z_norm_controls", "Z-norm (controls)", false, false,
      [&](Counts&) { return z_normed(s, ZNorm::controls); });
  add("z_norm_all", "Z-norm (all)", false, true, [&](Counts&) { return z_normed(s, ZNorm::all); });
  add("z_norm_minibatch92", "Z-norm (minibatch92)", false, false,
      [&](Counts&) { return z_normed(s, ZNorm::minibatch92); });
  if (options.post_processing) {
    add("tvn", "TVN", false, false,
        [&](Counts& counts) { return tvn_normed(s, s.set.negative_controls(), counts); });
    if (s.set.controls() != s.set.negative_controls())
      add("tvn_all_controls", "TVN (all controls)", false, false,
          [&](Counts& counts) { return tvn_normed(s, s.set.controls(), counts); });
    add("combat", "ComBat", false, false, [&](Counts& counts) { return combat_normed(s, counts); });
    add("whitening", "whitening", false, false,
        [&](Counts& counts) { return whitened(s, counts); });
  }
  for (const Measure& m : report.table.front().measures) report.columns.push_back(m.key);
  return report;
}

}  // namespace mono
