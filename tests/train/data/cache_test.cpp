// The image cache: the same pixels as the PNGs, and every flipped bit found.
#include "train/data/cache.h"

#include "kernels/base/error.h"
#include "kernels/base/thread_pool.h"
#include "tests/train/data/test_screen.h"
#include "train/data/commands.h"
#include "train/data/image_source.h"
#include "train/data/pack.h"
#include "train/data/split.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <fstream>
#include <numeric>

namespace mono {
namespace {

namespace fs = std::filesystem;
using test::TempDir;

constexpr int kSize = 12;

void make_screen(const TempDir& dir) {
  test::write_text(dir / "metadata.csv", test::small_table());
  test::write_images(dir.path(), kSize);
}

// All records of a cache, or the error that reading them gives.
std::string error_of(const fs::path& file) {
  try {
    const Cache cache(file);
    std::vector<int> channels(static_cast<size_t>(cache.shape().channels));
    std::iota(channels.begin(), channels.end(), 0);
    std::vector<uint8_t> planes(cache.shape().bytes());
    for (int r = 0; r < cache.records(); ++r) cache.read(r, channels, planes.data());
    return "";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    return e.what();
  }
}

class CacheOf : public testing::TestWithParam<CacheCodec> {};

TEST_P(CacheOf, GivesThePixelsOfThePngFiles) {
  TempDir dir, out;
  make_screen(dir);
  const Dataset d = open_dataset(dir.path());
  const PackReport report = pack_images(d, FileImages(d), out / "c.mono", GetParam());
  EXPECT_EQ(report.records, 24);
  EXPECT_EQ(report.file_bytes, fs::file_size(out / "c.mono"));

  SplitOptions stratified;
  stratified.by = SplitBy::stratified;
  const FileImages png(d);
  const auto same = [&](Dataset opened) -> std::vector<int> {
    const CachedImages cached(opened, out / "c.mono");
    EXPECT_EQ(cached.height(), kSize);
    std::vector<uint8_t> a(6 * kSize * kSize), b(a.size());
    for (int site = 0; site < 24; ++site)
      for (const std::vector<int>& channels : {std::vector<int>{0, 1, 2, 3, 4, 5}, {4}, {5, 0}}) {
        png.read(site, channels, a.data());
        cached.read(site, channels, b.data());
        EXPECT_EQ(a, b) << site;
      }
    return make_split(opened, stratified).test;
  };
  const auto split = make_split(d, stratified).test;
  EXPECT_EQ(same(open_dataset(dir.path())), split);

  // The table alone, without any image, is enough from now on.
  TempDir bare;
  test::write_text(bare / "metadata.csv", test::small_table());
  EXPECT_EQ(same(open_dataset(bare.path())), split);
}

TEST_P(CacheOf, IsTheSameFileForAnyNumberOfThreads) {
  TempDir dir, out;
  make_screen(dir);
  const Dataset d = open_dataset(dir.path());
  const int threads = num_threads();
  set_num_threads(1);
  pack_images(d, FileImages(d), out / "1", GetParam());
  set_num_threads(3);
  pack_images(d, FileImages(d), out / "3", GetParam());
  set_num_threads(threads);
  EXPECT_EQ(test::read_text(out / "1"), test::read_text(out / "3"));
}

TEST_P(CacheOf, EveryFlippedBitIsFound) {
  TempDir out;
  const CacheShape shape{2, 3, 5};
  std::vector<uint8_t> planes(shape.bytes());
  std::iota(planes.begin(), planes.end(), uint8_t{1});
  {
    CacheWriter writer(out / "good", GetParam(), shape, 42);
    writer.append("A_1", encode_record(GetParam(), shape, planes.data()));
    planes[3] = 200;
    writer.append("B_1", encode_record(GetParam(), shape, planes.data()));
    writer.finish();
  }
  ASSERT_EQ(error_of(out / "good"), "");
  // Every bit of header fields and index, and one bit of every byte of the rest, flipped in place.
  const int64_t size = static_cast<int64_t>(fs::file_size(out / "good"));
  std::fstream file(out / "good", std::ios::in | std::ios::out | std::ios::binary);
  const auto flip = [&](int64_t byte, int bit) {
    file.seekg(byte);
    const int value = file.get();
    file.seekp(byte);
    file.put(static_cast<char>(value ^ (1 << bit)));
    file.flush();
    ASSERT_TRUE(file.good());
  };
  for (int64_t byte = 0; byte < size; ++byte)
    for (int bit = 0; bit < 8; ++bit) {
      const bool dense = byte < 128 || byte + 128 > size;
      if (!dense && bit != byte % 8) continue;
      flip(byte, bit);
      const std::string error = error_of(out / "good");
      ASSERT_THAT(error, testing::HasSubstr("good: ")) << "byte " << byte << " bit " << bit;
      ASSERT_THAT(error, testing::HasSubstr("train_rxrx data pack"));
      flip(byte, bit);
    }
  EXPECT_EQ(error_of(out / "good"), "");
}

INSTANTIATE_TEST_SUITE_P(Codecs, CacheOf, testing::Values(CacheCodec::raw, CacheCodec::delta_zstd),
                         [](const auto& info) {
                           return info.param == CacheCodec::raw ? "raw" : "delta_zstd";
                         });

TEST(Cache, ErrorsNameFileAndRecord) {
  TempDir dir, out;
  make_screen(dir);
  Dataset d = open_dataset(dir.path());
  pack_images(d, FileImages(d), out / "c.mono", CacheCodec::raw);
  const std::string good = test::read_text(out / "c.mono");
  std::string damaged = good, longer = good + "x", shorter = good.substr(0, good.size() - 1),
              version = good, other = good;
  damaged[4096 + 5 * 4096 + 9] ^= 1;
  version[8] = 2;
  other[0] = 'X';
  const std::tuple<const char*, std::string, const char*> cases[] = {
      {"damaged record", damaged, "record 5 (HUVEC-01_1_B04_2) is damaged: its checksum differs"},
      {"longer", longer, "it was cut off or added to"},
      {"shorter", shorter, "it was cut off or added to"},
      {"short of a header", good.substr(0, 100), "has 100 bytes, the header alone has 4096"},
      {"empty", "", "has 0 bytes"},
      {"damaged header", version, "the header is damaged"},
      {"another file", other, "is not an image cache"},
  };
  for (const auto& [name, bytes, message] : cases) {
    SCOPED_TRACE(name);
    test::write_text(out / "bad", bytes);
    EXPECT_THAT(error_of(out / "bad"), testing::HasSubstr(message));
  }
  EXPECT_THAT(error_of(out / "none"), testing::HasSubstr("cannot be opened"));
}

TEST(Cache, OfAnotherScreenIsRefused) {
  TempDir dir, other, out;
  make_screen(dir);
  const Dataset packed = open_dataset(dir.path());
  pack_images(packed, FileImages(packed), out / "c.mono", CacheCodec::raw);
  test::write_text(
      other / "metadata.csv",
      test::kHeader + test::row("RPE-01", 1, "B02", 1, "train", "negative_control", "EMPTY", 0));
  Dataset d = open_dataset(other.path());
  const auto message = [&](Dataset& dataset) -> std::string {
    try {
      const CachedImages images(dataset, out / "c.mono");
    } catch (const Error& e) {
      return e.what();
    }
    return "";
  };
  EXPECT_THAT(message(d), testing::HasSubstr("it belongs to another screen"));
  // The same names, other pixels.
  fs::copy_file(dir / "images/HUVEC-01/Plate1/B03_s1_w2.png",
                dir / "images/HUVEC-01/Plate1/B02_s1_w1.png", fs::copy_options::overwrite_existing);
  Dataset changed = open_dataset(dir.path());
  EXPECT_THAT(message(changed), testing::HasSubstr("the cache was made from other images"));
}

TEST(Cache, IncompleteSitesAreLeftOut) {
  TempDir dir, out;
  make_screen(dir);
  fs::remove(dir / "images/HUVEC-01/Plate1/B03_s1_w2.png");
  Dataset d = open_dataset(dir.path());
  const PackReport report = pack_images(d, FileImages(d), out / "c.mono", CacheCodec::raw);
  EXPECT_EQ(report.records, 23);
  EXPECT_EQ(report.incomplete_sites, 1);
  const CachedImages images(d, out / "c.mono");
  EXPECT_FALSE(d.complete(2));
  std::vector<uint8_t> plane(kSize * kSize);
  const int channel = 0;
  EXPECT_THROW(images.read(2, std::span(&channel, 1), plane.data()), Error);
}

TEST(Cache, DamagedImageEndsPackingAndLeavesNothing) {
  TempDir dir, out;
  make_screen(dir);
  test::write_text(dir / "images/HUVEC-01/Plate1/B03_s1_w2.png", "");
  try {
    run_data_pack({dir.path(), out / "c.mono", "raw", false});
    ADD_FAILURE() << "no error";
  } catch (const Error& e) {
    EXPECT_EQ(e.kind(), ErrorKind::data);
    EXPECT_THAT(e.what(), testing::HasSubstr("B03_s1_w2.png: is empty"));
  }
  EXPECT_TRUE(fs::is_empty(out.path()));
  EXPECT_THROW(run_data_pack({dir.path(), out / "c.mono", "lz4", false}), Error);
  EXPECT_THROW(run_data_pack({dir.path(), out / "no" / "c.mono", "raw", false}), Error);
}

}  // namespace
}  // namespace mono
