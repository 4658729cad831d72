#include "train/metrics.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "kernels/base/error.h"
#include "train/signals.h"
#include "train/train_progress.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Metrics : public ::testing::Test {
 protected:
  Metrics() : path_(fs::temp_directory_path() / ("mono_metrics_" + std::to_string(::getpid()))) {
    fs::remove(path_);
  }
  ~Metrics() override { fs::remove(path_); }
  static Json row(int64_t step) {
    Json json = Json::object();
    json["step"] = step;
    return json;
  }
  std::string content() const {
    std::ifstream in(path_, std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(in), {});
  }
  void write(const std::string& text) const { std::ofstream(path_, std::ios::binary) << text; }
  std::string path_;
};

TEST_F(Metrics, ResumingCutsRowsAfterTheCheckpointAndATornLine) {
  {
    MetricsLog log(path_, 0);
    for (int step = 1; step <= 4; ++step) log.append(row(step));
    log.sync();
  }
  std::ofstream(path_, std::ios::app) << "{\"step\": 5, \"lo";
  {
    MetricsLog log(path_, 4);
    EXPECT_EQ(content(), "{\"step\": 1}\n{\"step\": 2}\n{\"step\": 3}\n{\"step\": 4}\n");
  }
  MetricsLog log(path_, 2);
  log.append(row(3));
  EXPECT_EQ(content(), "{\"step\": 1}\n{\"step\": 2}\n{\"step\": 3}\n");
}

TEST_F(Metrics, StartingAfreshEmptiesTheLog) {
  write("{\"step\": 1}\n");
  MetricsLog log(path_, 0);
  EXPECT_EQ(content(), "");
}

TEST_F(Metrics, ADamagedRowIsNamed) {
  write("{\"step\": 1}\nrubbish\n{\"step\": 3}\n");
  try {
    MetricsLog log(path_, 3);
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr(path_ + ":2: is not JSON"));
  }
}

TEST_F(Metrics, AFullDiskLeavesWholeRows) {
  MetricsLog log(path_, 0);
  log.append(row(1));
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limit = before;
  limit.rlim_cur = 17;  // in the middle of the second row
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  try {
    log.append(row(2));
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::storage);
  }
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(content(), "{\"step\": 1}\n");
  log.append(row(2));
  EXPECT_EQ(content(), "{\"step\": 1}\n{\"step\": 2}\n");
}

TEST(TrainProgress, Line) {
  StepReport report;
  report.epoch = 12;
  report.epochs = 100;
  report.step = 3412;
  report.steps = 15900;
  report.loss = 4.8123;
  report.gradient_norm = 0.913;
  report.learning_rate = 0.098;
  StepReport interval;
  interval.seconds = 10;
  interval.wait_seconds = 0.12;
  interval.images = 7124;
  const std::string text = progress_text(report, interval, 1'400'000'000, 7500);
  EXPECT_THAT(text, HasSubstr("ep 12/100  step 3,412/15,900  loss 4.812  |g| 0.91  lr 9.8e-02  712 "
                              "img/s  data 1.2 %  mem 1.4 GB  ETA "));
  EXPECT_THAT(text, HasSubstr("(2:05 h)"));
  report.step = report.steps;
  EXPECT_THAT(progress_text(report, interval, 1, 0), Not(HasSubstr("ETA")));
}

TEST(TrainProgress, AFileGetsWholeLinesTheFirstAndTheLast) {
  std::FILE* file = std::tmpfile();
  {
    TrainProgress progress(file);
    StepReport report;
    report.epoch = report.epochs = 1;
    report.steps = 5;
    report.seconds = 0.5;
    report.wait_seconds = 0.05;
    report.images = 64;
    for (report.step = 1; report.step <= 5; ++report.step) progress.step(report);
    EXPECT_DOUBLE_EQ(progress.seconds(), 2.5);
    EXPECT_DOUBLE_EQ(progress.wait_seconds(), 0.25);
  }
  std::rewind(file);
  char buffer[1000] = {};
  const size_t length = std::fread(buffer, 1, sizeof buffer - 1, file);
  std::fclose(file);
  const std::string text(buffer, length);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
  EXPECT_THAT(text, HasSubstr("step 1/5"));
  EXPECT_THAT(text,
              HasSubstr("step 5/5  loss 0.000  |g| 0.00  lr 0.0e+00  128 img/s  data 10.0 %"));
  EXPECT_EQ(text.find_first_of("\r\x1b"), text.npos);
}

TEST(TrainProgress, ResidentBytesAreThisProcesses) {
  EXPECT_GT(resident_bytes(), 1u << 20);
  EXPECT_LT(resident_bytes(), uint64_t{1} << 40);
}

TEST(Signals, TheFirstIsNotedTheSecondEnds) {
  for (const int first : {SIGTERM, SIGINT, SIGUSR1}) {
    const pid_t child = ::fork();
    ASSERT_GE(child, 0);
    if (child == 0) {
      const SignalCatcher catcher;
      if (catcher.caught() != 0) ::_exit(1);
      ::raise(first);
      if (catcher.caught() != first) ::_exit(2);
      ::raise(SIGTERM);
      ::_exit(3);  // not reached
    }
    int status = 0;
    ASSERT_EQ(::waitpid(child, &status, 0), child);
    EXPECT_TRUE(WIFSIGNALED(status)) << WEXITSTATUS(status);
    EXPECT_EQ(WTERMSIG(status), SIGTERM);
  }
}

// Of a command of several trainings, each with a catcher of its own, none loses what came between.
TEST(Signals, AnInnerCatcherSharesWhatHasArrived) {
  const SignalCatcher outer;
  ::raise(SIGUSR1);
  {
    const SignalCatcher inner;
    EXPECT_EQ(inner.caught(), SIGUSR1);
  }
  EXPECT_EQ(outer.caught(), SIGUSR1);
}

TEST(Signals, HandlersAreRestored) {
  std::signal(SIGUSR1, SIG_IGN);
  {
    const SignalCatcher catcher;
    ::raise(SIGUSR1);
    EXPECT_EQ(catcher.caught(), SIGUSR1);
    EXPECT_STREQ(signal_name(catcher.caught()), "SIGUSR1");
  }
  EXPECT_EQ(std::signal(SIGUSR1, SIG_DFL), SIG_IGN);
}

}  // namespace
}  // namespace mono
