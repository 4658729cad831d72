#include "models/safetensors.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>

#include <csignal>
#include <filesystem>
#include <fstream>

#include "kernels/base/error.h"
#include "models/safetensors_header.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using ::testing::HasSubstr;

class Safetensors : public ::testing::Test {
 protected:
  Safetensors() {
    folder_ = fs::temp_directory_path() / ("mono_safetensors_" + std::to_string(::getpid()));
    fs::create_directories(folder_);
  }
  ~Safetensors() override { fs::remove_all(folder_); }

  std::string path(const std::string& name = "t.safetensors") const { return folder_ / name; }

  // A file of the given header text, declared length and data.
  std::string raw(const std::string& header, const std::string& data, uint64_t declared) const {
    std::ofstream out(path(), std::ios::binary);
    out.write(reinterpret_cast<const char*>(&declared), 8);
    out << header << data;
    return path();
  }
  std::string file(const std::string& header, const std::string& data = "") const {
    return raw(header, data, header.size());
  }

  fs::path folder_;
};

// The exact refusal that each damaged or hostile file must get.
void expect_refused(const std::string& path, const std::string& message) {
  try {
    SafetensorsFile file(path);
    ADD_FAILURE() << "accepted, expected: " << message;
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr(path)) << "the file is not named";
    EXPECT_THAT(error.what(), HasSubstr(message));
  }
}

std::string tensor(const std::string& name, const std::string& dtype, const std::string& shape,
                   const std::string& offsets) {
  return "\"" + name + "\":{\"dtype\":\"" + dtype + "\",\"shape\":[" + shape +
         "],\"data_offsets\":[" + offsets + "]}";
}

TEST_F(Safetensors, RoundTrip) {
  const std::vector<float> weight = {1, -2, 3.5f, 0, 5, 6};
  const std::vector<double> wide = {1e-300, 2};
  const std::vector<float> empty;
  const uint8_t bytes[] = {1, 2, 3};
  const std::vector<SafetensorsTensor> tensors = {
      {"z.bytes", "U8", {3}, std::as_bytes(std::span(bytes))},
      safetensors_f32("conv.weight", {2, 3}, weight),
      safetensors_f64("wide", {2, 1}, wide),
      safetensors_f32("empty", {0, 4}, empty),
      safetensors_f32("scalar \"\\ \xC3\xA9", {}, std::span(weight).first(1))};
  const SafetensorsMetadata metadata = {{"format", "pt"}, {"line", "a\nb"}};
  write_safetensors(path(), tensors, metadata);

  const SafetensorsFile file(path());
  EXPECT_EQ(file.metadata(), metadata);
  ASSERT_EQ(file.entries().size(), 5u);
  EXPECT_EQ(file.entries()[0].name, "wide");  // widest element type first
  EXPECT_EQ(file.values<float>("conv.weight"), weight);
  EXPECT_EQ(file.values<double>("wide"), wide);
  EXPECT_EQ(file.values<float>("scalar \"\\ \xC3\xA9"), std::vector<float>{1});
  EXPECT_TRUE(file.bytes("empty").empty());
  EXPECT_EQ(file.entry("conv.weight").shape, (std::vector<int64_t>{2, 3}));
  EXPECT_EQ(static_cast<int>(file.bytes("z.bytes")[2]), 3);
  EXPECT_EQ(file.find("absent"), nullptr);
  EXPECT_EQ((fs::file_size(path()) - (16 + 24 + 4 + 3)) % 8, 0u);  // header and length
}

TEST_F(Safetensors, EqualContentGivesEqualFiles) {
  const std::vector<float> a = {1, 2}, b = {3};
  write_safetensors(path("1"),
                    std::vector{safetensors_f32("a", {2}, a), safetensors_f32("b", {1}, b)});
  write_safetensors(path("2"),
                    std::vector{safetensors_f32("b", {1}, b), safetensors_f32("a", {2}, a)});
  std::ifstream one(path("1"), std::ios::binary), two(path("2"), std::ios::binary);
  EXPECT_EQ(std::string(std::istreambuf_iterator<char>(one), {}),
            std::string(std::istreambuf_iterator<char>(two), {}));
}

TEST_F(Safetensors, WrongTypeAndAbsentTensorAreNamed) {
  const std::vector<float> a = {1, 2};
  write_safetensors(path(), std::vector{safetensors_f32("a", {2}, a)});
  const SafetensorsFile file(path());
  try {
    file.values<double>("a");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("tensor 'a': is F32 (2), where F64 is expected"));
  }
  try {
    file.bytes("b");
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_THAT(error.what(), HasSubstr("no tensor 'b'"));
  }
}

TEST_F(Safetensors, AcceptsPaddingEscapesAndAnyKeyOrder) {
  file(
      "{ \"a\\u00e9\\ud83d\\ude00\" : {\"data_offsets\":[0,4], \"shape\":[1],\n\"dtype\":\"F32\"}} "
      " ",
      "1234");
  const SafetensorsFile read(path());
  EXPECT_EQ(read.entries()[0].name, "a\xC3\xA9\xF0\x9F\x98\x80");
}

TEST_F(Safetensors, RefusesEmptyFile) {
  std::ofstream(path()).close();
  expect_refused(path(), "0 bytes, but a .safetensors file starts with 8");
}
TEST_F(Safetensors, RefusesAbsentFile) {
  expect_refused(path("absent"), "No such file");
}
TEST_F(Safetensors, RefusesFolder) {
  expect_refused(folder_, "is a folder");
}
TEST_F(Safetensors, RefusesPipeWithoutWaiting) {
  ASSERT_EQ(::mkfifo(path("pipe").c_str(), 0600), 0);
  expect_refused(path("pipe"), "pipe");
}
TEST_F(Safetensors, RefusesHugeHeaderBeforeAllocating) {
  expect_refused(raw("{}", "", uint64_t{1} << 62), "claims 4611686018427387904 bytes");
}
TEST_F(Safetensors, RefusesHeaderLongerThanFile) {
  expect_refused(raw("{}", "", 1000), "claims 1000 bytes, but only 2 follow");
}
TEST_F(Safetensors, RefusesEmptyHeader) {
  expect_refused(file(""), "starts with '{'");
}
TEST_F(Safetensors, RefusesLeadingSpace) {
  expect_refused(file(" {}"), "starts with '{'");
}
TEST_F(Safetensors, RefusesPickle) {
  expect_refused(file("\x80\x02]q"), "starts with '{'");
}
TEST_F(Safetensors, RefusesTruncatedJson) {
  expect_refused(file("{\"a\":{\"dtype\":\"F32\""), "ends where '}' is expected");
}
TEST_F(Safetensors, RefusesTextAfterHeader) {
  expect_refused(file("{} {}"), "something follows");
}
TEST_F(Safetensors, RefusesTrailingComma) {
  expect_refused(file("{" + tensor("a", "U8", "1", "0,1") + ",}", "x"), "'\"' is expected");
}
TEST_F(Safetensors, RefusesInvalidUtf8) {
  expect_refused(file("{\"\xFF\":{}}"), "is not UTF-8");
  expect_refused(file("{\"\xC0\xAF\":{}}"), "is not UTF-8");      // overlong
  expect_refused(file("{\"\xED\xA0\x80\":{}}"), "is not UTF-8");  // surrogate
}
TEST_F(Safetensors, RefusesHalfSurrogatePair) {
  expect_refused(file("{\"\\ud83d\":{}}"), "half a surrogate pair");
}
TEST_F(Safetensors, RefusesControlCharacterInName) {
  expect_refused(file("{" + tensor("\\u001b[2J", "U8", "1", "0,1") + "}", "x"),
                 "control character");
}
TEST_F(Safetensors, RefusesDuplicateTensor) {
  expect_refused(
      file("{" + tensor("a", "U8", "1", "0,1") + "," + tensor("a", "U8", "1", "1,2") + "}", "xy"),
      "key 'a' appears twice");
}
TEST_F(Safetensors, RefusesDuplicateMetadataAndDuplicateField) {
  expect_refused(file("{\"__metadata__\":{\"k\":\"1\",\"k\":\"2\"}}"), "key 'k' appears twice");
  expect_refused(file("{\"a\":{\"dtype\":\"U8\",\"dtype\":\"F32\"}}"), "'dtype' appears twice");
}
TEST_F(Safetensors, RefusesUnknownDtype) {
  expect_refused(file("{" + tensor("a", "F31", "1", "0,4") + "}", "1234"), "unknown dtype 'F31'");
}
TEST_F(Safetensors, RefusesUnknownField) {
  expect_refused(file("{\"a\":{\"stride\":[1]}}"), "unknown key 'stride'");
}
TEST_F(Safetensors, RefusesMissingFields) {
  expect_refused(file("{\"a\":{\"shape\":[1],\"data_offsets\":[0,1]}}", "x"), "dtype is missing");
  expect_refused(file("{\"a\":{\"dtype\":\"U8\",\"data_offsets\":[0,1]}}", "x"),
                 "shape is missing");
  expect_refused(file("{\"a\":{\"dtype\":\"U8\",\"shape\":[1]}}", "x"), "two data_offsets");
  expect_refused(file("{" + tensor("a", "U8", "1", "0") + "}", "x"), "two data_offsets");
  expect_refused(file("{" + tensor("a", "U8", "1", "0,1,1") + "}", "x"), "more than two");
}
TEST_F(Safetensors, RefusesNumbersThatAreNotPlainIntegers) {
  for (const char* extent : {"-1", "1.0", "1e3", "\"1\"", "null", "0x4", "+1"})
    EXPECT_THROW(SafetensorsFile(file("{" + tensor("a", "U8", extent, "0,1") + "}", "x")), Error)
        << extent;
  expect_refused(file("{" + tensor("a", "U8", "01", "0,1") + "}", "x"), "leading zero");
  expect_refused(file("{" + tensor("a", "U8", "99999999999999999999", "0,1") + "}", "x"),
                 "does not fit 64 bits");
  expect_refused(file("{" + tensor("a", "U8", "18446744073709551615", "0,1") + "}", "x"),
                 "does not fit 63 bits");
}
TEST_F(Safetensors, RefusesNestedValues) {
  expect_refused(file("{\"a\":" + std::string(100000, '[')), "'{' is expected");
  expect_refused(file("{" + tensor("a", "U8", "[1]", "0,1") + "}", "x"), "not a non-negative");
  expect_refused(file("{\"__metadata__\":{\"k\":{}}}"), "'\"' is expected");
}
TEST_F(Safetensors, RefusesTooManyDimensions) {
  expect_refused(file("{" + tensor("a", "U8", "1,1,1,1,1,1,1,1,1", "0,1") + "}", "x"),
                 "more than 8 dimensions");
}
TEST_F(Safetensors, RefusesTooManyTensors) {
  std::string header = "{";
  for (size_t i = 0; i <= SafetensorsFile::kMaxTensors; ++i)
    header += (i ? "," : "") + tensor("t" + std::to_string(i), "U8", "0", "0,0");
  expect_refused(file(header + "}"), "more than 65536 tensors");
}
TEST_F(Safetensors, RefusesProductOverflow) {
  // 2^33 x 2^31 x 4 bytes wraps to 0 in 64 bits: the known attack on unchecked readers.
  expect_refused(file("{" + tensor("a", "F32", "8589934592,2147483648", "0,0") + "}"),
                 "overflows 64 bits");
}
TEST_F(Safetensors, RefusesShapeThatDoesNotFitOffsets) {
  expect_refused(file("{" + tensor("a", "F32", "2", "0,4") + "}", "1234"),
                 "F32 (2) needs 8 bytes, but data_offsets [0, 4] give 4");
}
TEST_F(Safetensors, RefusesBackwardOffsets) {
  expect_refused(file("{" + tensor("a", "U8", "1", "1,0") + "}", "x"), "run backwards");
}
TEST_F(Safetensors, RefusesOffsetsBeyondTheFile) {
  expect_refused(file("{" + tensor("a", "U8", "9", "0,9") + "}", "1234"),
                 "ends at byte 9 of the data, but the file holds 4");
}
TEST_F(Safetensors, RefusesOverlap) {
  expect_refused(
      file("{" + tensor("a", "U8", "2", "0,2") + "," + tensor("b", "U8", "2", "1,3") + "}", "xyz"),
      "inside 'a'");
}
TEST_F(Safetensors, RefusesHole) {
  expect_refused(
      file("{" + tensor("a", "U8", "1", "0,1") + "," + tensor("b", "U8", "1", "2,3") + "}", "xyz"),
      "no hole");
}
TEST_F(Safetensors, RefusesUnindexedTail) {
  expect_refused(file("{" + tensor("a", "U8", "1", "0,1") + "}", "xyz"),
                 "end at byte 1 of the data, but the file holds 3");
}
TEST_F(Safetensors, RefusesEveryTruncation) {
  const std::vector<float> a = {1, 2, 3};
  write_safetensors(path("whole"), std::vector{safetensors_f32("a", {3}, a)}, {{"k", "v"}});
  std::ifstream in(path("whole"), std::ios::binary);
  const std::string whole(std::istreambuf_iterator<char>(in), {});
  for (size_t length = 0; length < whole.size(); ++length) {
    std::ofstream(path("cut"), std::ios::binary).write(whole.data(), static_cast<long>(length));
    EXPECT_THROW(SafetensorsFile{path("cut")}, Error) << length;
  }
}

TEST_F(Safetensors, WritingIntoAMissingFolderNamesIt) {
  const std::vector<float> a = {1};
  try {
    write_safetensors(path("absent/x"), std::vector{safetensors_f32("a", {1}, a)});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_THAT(error.what(), HasSubstr("absent/x: create: No such file or directory"));
  }
}

TEST_F(Safetensors, AFailedWriteKeepsTheOldFileAndRemovesItsOwn) {
  const std::vector<float> small = {1}, large(1 << 20);
  write_safetensors(path(), std::vector{safetensors_f32("a", {1}, small)});
  std::signal(SIGXFSZ, SIG_IGN);
  rlimit before{};
  ASSERT_EQ(::getrlimit(RLIMIT_FSIZE, &before), 0);
  rlimit limit = before;
  limit.rlim_cur = 100'000;
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &limit), 0);
  try {
    write_safetensors(path(), std::vector{safetensors_f32("a", {1 << 20}, large)});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::storage);
    EXPECT_THAT(error.what(), HasSubstr("write: File too large"));
  }
  ASSERT_EQ(::setrlimit(RLIMIT_FSIZE, &before), 0);
  EXPECT_EQ(SafetensorsFile(path()).values<float>("a"), small);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder_), {}), 1);
}

}  // namespace
}  // namespace mono
