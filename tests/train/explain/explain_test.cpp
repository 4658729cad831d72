// What cannot be explained is refused, with what to use instead.
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "tests/train/explain/explain_run.h"

namespace mono {
namespace {

using test::Explain;
using ::testing::AllOf;
using ::testing::HasSubstr;

TEST_F(Explain, SaysWhatToUseInstead) {
  test::write_tiny_run(folder_ / "run", screen_->path(), {"batch_head.mode=none"});
  ExplainOptions options = options_for("gradient-reversal", folder_ / "run");
  EXPECT_THAT(usage_error_of(options),
              AllOf(HasSubstr("has no batch head"), HasSubstr("batch_head.mode")));
  options.what = "centring";
  EXPECT_THAT(usage_error_of(options),
              AllOf(HasSubstr("has no teacher"), HasSubstr("explain adabn")));
  options.what = "adabm";
  EXPECT_THAT(usage_error_of(options), HasSubstr("did you mean 'adabn'"));
  options.what = "adabn";
  options.out = folder_ / "page.pdf";
  EXPECT_THAT(usage_error_of(options), HasSubstr("FILE.html"));
  options.out.clear();
  options.images = 1;
  EXPECT_THAT(usage_error_of(options), HasSubstr("two images"));
  options = options_for("centring", train_views("ssl-byol"));
  EXPECT_THAT(usage_error_of(options), AllOf(HasSubstr("has no centres"), HasSubstr("dino")));
}

}  // namespace
}  // namespace mono
