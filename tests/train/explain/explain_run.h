// Runs to explain: tiny ones, trained or as drawn, and how their pages are read.
#pragma once

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>
#include <string>
#include <vector>

#include "kernels/base/philox.h"
#include "tests/train/evaluate/tiny_run.h"
#include "train/commands.h"
#include "train/evaluate/inference.h"
#include "train/evaluate/trained_run.h"
#include "train/idle_keys.h"

namespace mono::test {

inline constexpr int kAll = 1000;  // images: no limit on the tiny screen

class Explain : public ::testing::Test {
 protected:
  static void SetUpTestSuite() {
    screen_ = new TempDir;
    write_tiny_screen(screen_->path());
  }
  static void TearDownTestSuite() {
    delete screen_;
    screen_ = nullptr;
  }

  // A run whose weights are as drawn and whose running statistics are nothing special.
  TrainedRun make_run(std::vector<std::string> sets = {}) {
    sets.push_back("data.split=stratified");
    write_tiny_run(folder_ / "run", screen_->path(), sets);
    TrainedRun run = load_run(folder_ / "run", "", {}, {});
    NormStatistics& running = run.model->running();
    Philox random(3, Purpose::test);
    for (float& value : running.mean().span<float>())
      value = static_cast<float>(0.3 * random.normal());
    for (float& value : running.variance().span<float>())
      value = static_cast<float>(0.5 + random.uniform());
    return run;
  }
  static ExplainOptions options_for(const std::string& what, const std::filesystem::path& run) {
    ExplainOptions options;
    options.what = what;
    options.run = run;
    options.compute.device = "cpu";
    return options;
  }
  static std::string run(const ExplainOptions& options) {
    return quietly([&] { EXPECT_EQ(run_explain(options), 0); });
  }
  static std::string usage_error_of(const ExplainOptions& options) {
    try {
      run(options);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::usage) << error.what();  // exit code 2
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }
  // A run of views, one epoch of it.
  std::filesystem::path train_views(const std::string& recipe) {
    TrainOptions options;
    options.recipe = "smoke/cdcl/table1/" + recipe;
    options.sets = sets_that_apply(
        options.recipe,
        {"model.patch=4", "model.depth=1", "model.dim=16", "model.heads=2", "model.drop_path=0.0",
         "data.validation_experiments=0", "batch.anchors=6", "views.size=16", "views.local_size=8",
         "ssl.hidden=12", "ssl.bottleneck=8", "ssl.outputs=10", "ssl.byol_hidden=12",
         "ssl.byol_outputs=8", "train.epochs=1", "loader.workers=1", "validation.every_epochs=0"});
    options.data = screen_->path();
    options.out = folder_ / recipe;
    options.compute.device = "cpu";
    quietly([&] { EXPECT_EQ(run_train(options), 0); });
    return options.out;
  }
  // What `work` prints to stdout, also where it throws.
  template <class Work>
  static std::string quietly(Work work) {
    ::testing::internal::CaptureStdout();
    try {
      work();
    } catch (...) {
      ::testing::internal::GetCapturedStdout();
      throw;
    }
    return ::testing::internal::GetCapturedStdout();
  }

  static inline TempDir* screen_ = nullptr;
  TempDir folder_;
};

// A page as its reader sees it, as far as apostrophes go.
inline std::string read_page(const std::filesystem::path& file) {
  std::string html = read_text(file);
  for (size_t at = 0; (at = html.find("&#39;", at)) != std::string::npos;) html.replace(at, 5, "'");
  return html;
}

// Every element that opens closes, in order; no number is "nan".
inline void expect_well_formed(const std::string& html) {
  static const std::set<std::string> kVoid = {"meta", "link", "br", "hr", "img", "col", "wbr"};
  EXPECT_TRUE(html.starts_with("<!doctype html>") || html.starts_with("<!DOCTYPE html>"));
  EXPECT_THAT(html, ::testing::Not(::testing::HasSubstr(">nan")));
  std::vector<std::string> open;
  for (size_t at = html.find('<', 1); at != std::string::npos; at = html.find('<', at + 1)) {
    const size_t end = html.find('>', at);
    ASSERT_NE(end, std::string::npos);
    std::string tag = html.substr(at + 1, end - at - 1);
    if (tag.ends_with("/") || tag.starts_with("!")) continue;
    const bool closes = tag.starts_with("/");
    tag = tag.substr(closes, tag.find_first_of(" \n", closes) - closes);
    if (kVoid.contains(tag)) continue;
    if (!closes) {
      open.push_back(tag);
      continue;
    }
    ASSERT_FALSE(open.empty()) << tag;
    ASSERT_EQ(open.back(), tag);
    open.pop_back();
  }
  EXPECT_TRUE(open.empty());
}

}  // namespace mono::test
