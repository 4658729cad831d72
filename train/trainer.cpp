// `train_rxrx train`: the loop around the step. Resuming, logging, saving, and ending well whatever
// happens.
//
//   a step ends   -> its row in metrics.jsonl, the progress line, perhaps a checkpoint
//   a signal      -> checkpoint of the last logged step, exit 75
//   a full disk   -> the failed save is reported, training goes on and tries again at the next
//                    interval; three failures in a row end it (exit 5), the old checkpoint intact
//   a value that is not finite -> exit 4, nothing of that step is saved
//
// Of several ranks (communicator.h) all compute, in steps and in evaluations; rank 0 alone writes
// and prints. What ends one ends all: a signal after the step in which any of them saw it, an error
// at once.
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <optional>

#include "kernels/base/thread_pool.h"
#include "train/checkpoint.h"
#include "train/commands.h"
#include "train/data/csv.h"
#include "train/device.h"
#include "train/hash.h"
#include "train/metrics.h"
#include "train/on_ranks.h"
#include "train/ranks.h"
#include "train/report/training_watch.h"
#include "train/run_directory.h"
#include "train/signals.h"
#include "train/test_curve.h"
#include "train/train_checkpoint.h"
#include "train/train_progress.h"
#include "train/train_step.h"
#include "train/validation.h"
#include "train/version.h"

namespace mono {
namespace {

constexpr int kSaveFailures = 3;  // in a row, that end a run

using Clock = std::chrono::steady_clock;

double seconds_since(Clock::time_point start) {
  return std::chrono::duration<double>(Clock::now() - start).count();
}

// Sums over the steps of one epoch (of this process), for the line that closes it.
struct EpochFigures {
  StepFigures sum;
  double seconds = 0, waited = 0;
  int64_t steps = 0;

  void add(const StepFigures& figures, double step_seconds, double wait) {
    sum.loss += figures.loss;
    sum.accuracy += figures.accuracy;
    sum.batch_accuracy += figures.batch_accuracy;
    seconds += step_seconds;
    waited += wait;
    ++steps;
  }
};

class Trainer {
 public:
  Trainer(const RunSetup& setup, const RunDirectory& run, Communicator& ranks,
          const SignalCatcher& signals, const TrainOptions& options)
      : setup_(setup),
        recipe_(setup.recipe),
        run_(run),
        ranks_(ranks),
        model_(make_model(setup)),
        step_(make_train_step(setup, *model_, ranks)),
        signals_(signals),
        options_(options) {
    if (run.writes()) store_.emplace(run, recipe_.checkpoint.keep);
  }

  int train();

 private:
  std::optional<LoadedCheckpoint> load_newest();
  void print_start() const;
  bool due(int64_t done) const;
  void compare_ranks(int64_t done);
  bool validate(int64_t done);
  bool record_test_accuracy(int64_t done);
  void save(int64_t done);
  bool try_to_save(int64_t done);  // false: a full disk, reported
  void log(int64_t done, const StepFigures& figures, double seconds, double waited);
  void write_rows();
  void close_epoch(int64_t done);
  int end_early(int64_t done);
  bool has_batch_head() const {
    return recipe_.batch.form == BatchForm::groups &&
           recipe_.batch_head.mode != BatchHeadMode::none;
  }
  double images_per_step() const { return static_cast<double>(step_->images()); }

  const RunSetup& setup_;
  const Recipe& recipe_;
  const RunDirectory& run_;
  Communicator& ranks_;
  std::unique_ptr<Model> model_;
  std::unique_ptr<TrainStep> step_;
  const SignalCatcher& signals_;
  const TrainOptions& options_;
  TrainProgress progress_;
  std::optional<Validation> validation_;
  std::optional<TestCurve> test_curve_;
  // Of the rank that writes:
  std::optional<CheckpointStore> store_;
  std::optional<MetricsLog> metrics_;
  std::optional<report::TrainingWatch> watch_;
  std::vector<Json> rows_;  // not yet in metrics.jsonl: more than one only while the disk is full
  EpochFigures epoch_;
  int64_t saved_ = -1;  // the step of the newest checkpoint
  int save_failures_ = 0;
};

int Trainer::train() {
  int64_t done = 0;
  const std::optional<LoadedCheckpoint> checkpoint = load_newest();
  if (checkpoint) {
    done = saved_ = restore_training(*checkpoint, setup_, *step_);
    fmt::print("resuming from {}\n", checkpoint->path.string());
  }
  validation_.emplace(setup_, run_, ranks_, done,
                      checkpoint ? checkpoint->state.find("more") : std::nullopt);
  test_curve_.emplace(setup_, run_, ranks_, done);
  if (run_.writes()) {
    metrics_.emplace(run_.metrics().string(), done);
    watch_.emplace(run_.path(), options_.plots, options_.tensorboard);
    store_->keep_step(validation_->best().step);
  }
  print_start();

  const int64_t total = step_->total_steps();
  const int64_t resumed_at = done;
  step_->start(done, total, static_cast<int>(recipe_.loader.workers));
  while (true) {
    compare_ranks(done);
    const bool whole = validate(done) && record_test_accuracy(done);
    if (due(done)) try_to_save(done);
    if (ranks_.any(!whole || (signals_.caught() && done > resumed_at))) return end_early(done);
    if (done == total) break;
    const auto start = Clock::now();
    const double waited_before = step_->waited();
    const auto figures = step_->run(done, [&] { return signals_.caught() != 0; });
    if (!figures) return end_early(done);
    ++done;
    log(done, *figures, seconds_since(start), step_->waited() - waited_before);
    if (watch_) watch_->step();
    if (done % step_->epoch_steps() == 0) close_epoch(done);
  }
  progress_.clear();
  while (run_.writes() && saved_ != total) try_to_save(total);
  if (watch_) watch_->epoch();
  const double seconds = std::max(progress_.seconds(), 1e-9);
  const double images = images_per_step() * static_cast<double>(total - resumed_at);
  fmt::print(
      "done: {} epochs, {} steps ({} of them now, in {:.1f} s, {:.1f} images/s, data wait {:.1f} "
      "%), weights {}\n{}\n",
      recipe_.train.epochs, total, total - resumed_at, progress_.seconds(), images / seconds,
      100 * progress_.wait_seconds() / seconds, step_->state().fingerprint(), run_.path().string());
  return 0;
}

// Rank 0 finds it; the others take the same one.
std::optional<LoadedCheckpoint> Trainer::load_newest() {
  std::optional<LoadedCheckpoint> checkpoint;
  if (store_) checkpoint = store_->load_newest();
  const int64_t step = ranks_.of_root(checkpoint ? checkpoint->step : int64_t{-1});
  if (!store_ && step >= 0) checkpoint = load_checkpoint_of(run_.path(), step);
  return checkpoint;
}

void Trainer::print_start() const {
  const Split& split = setup_.split;
  int64_t parameters = 0;
  for (const Parameter& p : model_->arena().parameters()) parameters += p.elements();
  fmt::print(
      "{}: {} ({:.2f} M parameters) on {} x {} x {}, {}, on {}\n"
      "{} training images of {} ({} test images, {}), {} classes; {} epochs of {} steps of {}\n",
      recipe_.name, recipe_.model.backbone, static_cast<double>(parameters) * 1e-6,
      setup_.channels.size(), setup_.crop, setup_.crop, name_of(setup_.precision),
      name_of(setup_.device), split.train.size(), setup_.dataset.root.string(), split.test.size(),
      name_of(recipe_.data.split), setup_.classes, recipe_.train.epochs, step_->epoch_steps(),
      recipe_.batch.form == BatchForm::views
          ? fmt::format("{} anchors", recipe_.batch.anchors)
          : fmt::format("{} x {} images", recipe_.batch.groups, recipe_.batch.group_size));
  std::fflush(stdout);
}

// Makes the validation of this step if it is due; the best checkpoint so far is saved and kept.
// False where a signal came first.
bool Trainer::validate(int64_t done) {
  if (!validation_->due(done, step_->epoch_steps(), step_->total_steps())) return true;
  const Validation::Best before = validation_->best();
  progress_.clear();
  if (!validation_->run(done, done / step_->epoch_steps(), step_->evaluated(),
                        [&] { return signals_.caught() != 0; }))
    return false;
  fmt::print("{}\n", validation_->text());
  std::fflush(stdout);
  if (run_.writes() && validation_->is_best()) {
    store_->keep_step(done);
    // Even if this step is saved already: its state says what is best. What could not be saved is
    // not the best of what there is.
    if (!try_to_save(done)) {
      validation_->set_best(before);
      store_->keep_step(before.step);
    }
  }
  return true;
}

// False where a signal came first.
bool Trainer::record_test_accuracy(int64_t done) {
  if (!test_curve_->due(done, step_->epoch_steps(), step_->total_steps())) return true;
  progress_.clear();
  const int64_t epoch = done / step_->epoch_steps();
  const std::optional<double> accuracy =
      test_curve_->record(done, epoch, step_->evaluated(), [&] { return signals_.caught() != 0; });
  if (!accuracy) return false;
  fmt::print("epoch {}/{}: test accuracy {:.1f} % (recorded, decides nothing)\n", epoch,
             recipe_.train.epochs, 100 * *accuracy);
  return true;
}

// Every so often, and whenever something may be saved.
void Trainer::compare_ranks(int64_t done) {
  if (ranks_.size() == 1 || done == 0) return;
  const Recipe::Checkpoint& when = recipe_.checkpoint;
  const auto each = [&](int64_t steps) { return steps > 0 && done % steps == 0; };
  if (each(recipe_.ranks.check_steps) || each(when.every_steps) || each(step_->epoch_steps()) ||
      done == step_->total_steps())
    check_same_state(ranks_, step_->state(), done);
}

bool Trainer::due(int64_t done) const {
  const Recipe::Checkpoint& when = recipe_.checkpoint;
  if (!run_.writes() || done == 0 || done == saved_) return false;
  return done == step_->total_steps() || (when.every_steps > 0 && done % when.every_steps == 0) ||
         (when.every_epochs > 0 && done % (when.every_epochs * step_->epoch_steps()) == 0);
}

// The log first: a checkpoint promises the rows up to its step.
void Trainer::save(int64_t done) {
  write_rows();
  metrics_->sync();
  test_curve_->write_rows();
  ranks_.moving("saving");
  save_training(*store_, setup_, *step_, done, validation_->state());
  saved_ = done;
  save_failures_ = 0;
}

bool Trainer::try_to_save(int64_t done) {
  try {
    save(done);
    return true;
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage || ++save_failures_ >= kSaveFailures) throw;
    progress_.clear();
    fmt::print(stderr,
               "warning: step {} could not be saved: {}\n         the checkpoint of step {} is "
               "intact; trying again later ({} of {} failures)\n",
               done, error.what(), std::max<int64_t>(saved_, 0), save_failures_, kSaveFailures);
    return false;
  }
}

void Trainer::log(int64_t done, const StepFigures& figures, double seconds, double waited) {
  if (!run_.writes()) return epoch_.add(figures, seconds, waited);
  const int64_t epoch = (done - 1) / step_->epoch_steps() + 1;
  const double images_per_s = images_per_step() / seconds;
  Json row = Json::object();
  row["step"] = done;
  row["epoch"] = epoch;
  row["loss"] = figures.loss;
  row["target_loss"] = figures.target_loss;
  row["accuracy"] = figures.accuracy;
  if (has_batch_head()) {
    row["batch_loss"] = figures.batch_loss;
    row["batch_accuracy"] = figures.batch_accuracy;
  }
  row["gradient_norm"] = figures.gradient_norm;
  row["lr"] = figures.learning_rate;
  for (const auto& [name, value] : figures.more) row[name.c_str()] = value;
  row["images_per_s"] = images_per_s;
  row["data_wait"] = waited / seconds;
  const int64_t memory = peak_tensor_bytes(setup_.device);
  row["memory_mb"] = static_cast<double>(memory) / 1048576;
  row["eta_s"] = static_cast<double>(step_->total_steps() - done) * seconds;
  row["ranks"] = ranks_.size();
  rows_.push_back(std::move(row));
  try {
    write_rows();
  } catch (const Error& error) {
    if (error.kind() != ErrorKind::storage) throw;  // a full disk: kept for the next attempt
  }
  progress_.step(
      {.epoch = epoch,
       .epochs = recipe_.train.epochs,
       .step = done,
       .steps = step_->total_steps(),
       .loss = figures.loss,
       .gradient_norm = figures.gradient_norm,
       .learning_rate = figures.learning_rate,
       .seconds = seconds,
       .wait_seconds = waited,
       .images = step_->images(),
       .device_memory_bytes = setup_.device == Device::cpu ? 0 : static_cast<uint64_t>(memory)});
  epoch_.add(figures, seconds, waited);
}

void Trainer::write_rows() {
  size_t written = 0;
  try {
    for (; written < rows_.size(); ++written) metrics_->append(rows_[written]);
  } catch (...) {
    rows_.erase(rows_.begin(), rows_.begin() + static_cast<ptrdiff_t>(written));
    throw;
  }
  rows_.clear();
}

void Trainer::close_epoch(int64_t done) {
  progress_.clear();
  const double steps = static_cast<double>(epoch_.steps);
  std::string batch;
  if (has_batch_head())
    batch = fmt::format(", batch accuracy {:.1f} %", 100 * epoch_.sum.batch_accuracy / steps);
  fmt::print(
      "epoch {}/{}: loss {:.4f}, accuracy {:.1f} %{}, {:.1f} images/s, data wait {:.1f} %, weights "
      "{}\n",
      done / step_->epoch_steps(), recipe_.train.epochs, epoch_.sum.loss / steps,
      100 * epoch_.sum.accuracy / steps, batch, images_per_step() * steps / epoch_.seconds,
      100 * epoch_.waited / epoch_.seconds, step_->state().fingerprint());
  std::fflush(stdout);
  epoch_ = {};
  if (watch_) watch_->epoch();
}

int Trainer::end_early(int64_t done) {
  progress_.clear();
  check_same_state(ranks_, step_->state(), done);
  if (run_.writes() && saved_ != done) save(done);
  if (watch_) watch_->epoch();
  fmt::print("{}: saved after step {} of {}; --resume auto goes on from there\n",
             signals_.caught() ? signal_name(signals_.caught()) : "a signal to another rank", done,
             step_->total_steps());
  std::fflush(stdout);
  return static_cast<int>(ErrorKind::interrupted);
}

// A run that is refused before it begins leaves no folder behind, unless one was there. Only who
// has the lock may take the folder away.
class NewFolder {
 public:
  NewFolder(const RunDirectory& run, bool was_there) : path_(run.path()), was_there_(was_there) {}
  ~NewFolder() {
    if (was_there_) return;
    std::error_code kept;  // what is not empty
    std::filesystem::remove(path_ / "ckpt", kept);
    std::filesystem::remove(path_, kept);
  }
  NewFolder(const NewFolder&) = delete;
  NewFolder& operator=(const NewFolder&) = delete;

 private:
  const std::filesystem::path path_;
  const bool was_there_;
};

// What the run does without: on stderr, and by site in RUN/left_out.csv.
void list_left_out(const RunSetup& setup, const RunDirectory& run) {
  if (setup.left_out.empty()) return;
  std::string table = "site_id,reason\n";
  for (const LeftOut& item : setup.left_out)
    table += fmt::format("{},{}\n",
                         csv_field(setup.dataset.sites[static_cast<size_t>(item.site)].site_id),
                         csv_field(item.reason));
  const std::string path = (run.path() / "left_out.csv").string();
  write_file_durably(path, table);
  fmt::print(stderr, "warning: {} sites are left out ({}: {}); all of them: {}\n",
             setup.left_out.size(),
             setup.dataset.sites[static_cast<size_t>(setup.left_out[0].site)].site_id,
             setup.left_out[0].reason, path);
}

void check_resumable(const RunDirectory& run, const TrainOptions& options, const Recipe& recipe) {
  if (!run.has_run()) return;
  if (!options.resume)
    fail(ErrorKind::usage,
         "{} holds a run already; --resume auto goes on with it, another --out starts a new one",
         options.out.string());
  check_same_recipe(run.path(), recipe);
}

int train(const TrainOptions& options, Communicator& ranks) {
  const SignalCatcher signals;
  const Device device = choose_device(options.compute, ranks);
  const Recipe recipe = load_recipe(options.recipe, options.sets);
  ranks.set_timeout(recipe.ranks.timeout_s);
  // All keys: those that decide no result decide when ranks meet.
  check_same(ranks, "recipe",
             fmt::format("{}, hash {}, all keys {}", recipe.name, recipe_hash(recipe),
                         hash_text(hash64(recipe_text(recipe)))));
  share_of(ranks, recipe.batch.groups);
  check_start(recipe);
  const bool was_there = std::filesystem::exists(options.out);
  // Rank 0 makes or opens the folder; what is wrong with it ends all ranks there.
  const RunDirectory run =
      ranks.is_root() ? RunDirectory(options.out) : RunDirectory::without_writing(options.out);
  std::optional<NewFolder> folder;
  if (run.writes()) {
    folder.emplace(run, was_there);
    check_resumable(run, options, recipe);
  }
  ranks.barrier();
  std::unique_ptr<RunSetup> setup;
  std::exception_ptr refused;
  try {
    setup = set_up(recipe, options.data, options.cache, device,
                   [&] { ranks.moving("reading the screen"); });
  } catch (...) {
    refused = std::current_exception();
  }
  if (ranks.any(refused != nullptr)) {
    folder.reset();
    if (refused) std::rethrow_exception(refused);
    ranks.barrier();  // until the rank that was refused ends all
  }
  check_same_images(ranks, *setup);
  // On several ranks an error is told before these are taken down: GPUs may be waiting for peers.
  std::unique_ptr<Communicator> nccl;
  std::optional<Trainer> trainer;
  try {
    if (device == Device::cuda && ranks.size() > 1 && recipe.ranks.gpu_sums == GpuSums::nccl)
      nccl = nccl_over(ranks, recipe.ranks.timeout_s);
    trainer.emplace(*setup, run, nccl ? *nccl : ranks, signals, options);
    RunInfo info;
    info.data = std::filesystem::absolute(options.data).string();
    if (!options.cache.empty()) info.cache = std::filesystem::absolute(options.cache).string();
    if (run.writes()) {
      if (!run.has_run()) run.start(recipe, info);
      list_left_out(*setup, run);
    }
    const int code = trainer->train();
    if (run.writes()) run.moved(info.data, info.cache);  // a resumed run, its screen elsewhere
    return code;
  } catch (...) {
    if (ranks.size() == 1) throw;
    folder.reset();
    end_ranks_with_this_error(ranks);
  }
}

}  // namespace

int run_train(const TrainOptions& options) {
  const SignalCatcher signals;  // ranks that are still meeting miss none
  return on_ranks([&](Communicator& ranks) { return train(options, ranks); });
}

}  // namespace mono
