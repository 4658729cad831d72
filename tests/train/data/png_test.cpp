// PNG: what is written reads back, and nothing that is not exactly right is accepted.
#include "train/data/png.h"

#include "kernels/base/philox.h"
#include "tests/train/data/test_screen.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <zlib.h>

#include <cstring>
#include <functional>

namespace mono {
namespace {

using Bytes = std::vector<uint8_t>;

const PngInfo kInfo{7, 5, 1};

Bytes test_pixels(const PngInfo& info, uint32_t seed = 0) {
  Bytes pixels(info.bytes());
  Philox random(seed, Purpose::test);
  for (size_t i = 0; i < pixels.size(); ++i)
    pixels[i] = static_cast<uint8_t>(i * 3 + random.below(40));
  return pixels;
}

void put32(uint8_t* to, uint32_t v) {
  for (int i = 0; i < 4; ++i) to[i] = static_cast<uint8_t>(v >> (24 - 8 * i));
}

Bytes chunk(const std::string& type, const Bytes& data) {
  const size_t n = data.size();
  Bytes bytes(n + 12);
  put32(&bytes[0], static_cast<uint32_t>(n));
  std::copy(type.begin(), type.end(), bytes.begin() + 4);
  std::copy(data.begin(), data.end(), bytes.begin() + 8);
  put32(&bytes[n + 8], static_cast<uint32_t>(crc32(0, &bytes[4], static_cast<uInt>(n) + 4)));
  return bytes;
}

Bytes header(uint32_t width, uint32_t height, int depth = 8, int colour = 0, int compression = 0,
             int filter = 0, int interlace = 0) {
  Bytes h(13);
  put32(&h[0], width);
  put32(&h[4], height);
  const int rest[] = {depth, colour, compression, filter, interlace};
  for (size_t i = 0; i < 5; ++i) h[8 + i] = static_cast<uint8_t>(rest[i]);
  return h;
}

Bytes deflate(const Bytes& raw) {
  uLongf n = compressBound(static_cast<uLong>(raw.size()));
  Bytes out(n);
  compress2(out.data(), &n, raw.data(), static_cast<uLong>(raw.size()), 9);
  out.resize(n);
  return out;
}

// Rows of kInfo with filter byte 0 in front.
Bytes raw_rows(uint8_t filter = 0) {
  const Bytes pixels = test_pixels(kInfo);
  Bytes raw;
  for (int y = 0; y < kInfo.height; ++y) {
    raw.push_back(y == 3 ? filter : 0);
    raw.insert(raw.end(), pixels.begin() + y * kInfo.width, pixels.begin() + (y + 1) * kInfo.width);
  }
  return raw;
}

Bytes joined(std::initializer_list<Bytes> parts) {
  Bytes all = {0x89, 'P', 'N', 'G', '\r', '\n', 0x1A, '\n'};
  for (const Bytes& p : parts) all.insert(all.end(), p.begin(), p.end());
  return all;
}

const Bytes kIhdr = chunk("IHDR", header(7, 5));
const Bytes kIend = chunk("IEND", {});

Bytes decoded(const Bytes& file, const PngInfo& info) {
  Bytes pixels(info.bytes());
  decode_png(file, "x.png", info, pixels.data());
  return pixels;
}

TEST(Png, RoundTripsEverySizeAndKind) {
  for (const auto& info : {PngInfo{1, 1, 1},
                           {1, 1, 3},
                           {7, 5, 1},
                           {7, 5, 3},
                           {64, 33, 1},
                           {33, 64, 3},
                           {256, 256, 1}}) {
    const Bytes pixels = test_pixels(info);
    const Bytes file = encode_png(info, pixels.data());
    EXPECT_EQ(png_header(file, "x"), info);
    EXPECT_EQ(decoded(file, info), pixels) << info.width << " x " << info.height;
  }
}

TEST(Png, EveryFilterDecodes) {
  // Rows of one filter each, made by the definition in the specification.
  for (const int channels : {1, 3}) {
    const PngInfo info{9, 6, channels};
    const Bytes pixels = test_pixels(info, 3);
    const int stride = info.width * channels;
    const auto at = [&](int y, int i) {
      return y < 0 || i < 0 ? 0 : int{pixels[static_cast<size_t>(y * stride + i)]};
    };
    Bytes raw;
    for (int y = 0; y < info.height; ++y) {
      const int filter = y % 5;
      raw.push_back(static_cast<uint8_t>(filter));
      for (int i = 0; i < stride; ++i) {
        const int a = at(y, i - channels), b = at(y - 1, i), c = at(y - 1, i - channels);
        const int p = a + b - c, pa = std::abs(p - a), pb = std::abs(p - b), pc = std::abs(p - c);
        const int paeth = pa <= pb && pa <= pc ? a : pb <= pc ? b : c;
        const int guess[] = {0, a, b, (a + b) / 2, paeth};
        raw.push_back(static_cast<uint8_t>(at(y, i) - guess[filter]));
      }
    }
    const Bytes file = joined({chunk("IHDR", header(9, 6, 8, channels == 3 ? 2 : 0)),
                               chunk("IDAT", deflate(raw)), kIend});
    EXPECT_EQ(decoded(file, info), pixels) << channels;
  }
}

TEST(Png, LegalOddities) {
  const Bytes idat = deflate(raw_rows());
  const Bytes first(idat.begin(), idat.begin() + 5), rest(idat.begin() + 5, idat.end());
  const Bytes text = {'k', 0, 'v'};
  const Bytes file = joined({kIhdr, chunk("tEXt", text), chunk("gAMA", {0, 0, 1, 1}),
                             chunk("IDAT", first), chunk("IDAT", {}), chunk("IDAT", rest),
                             chunk("tIME", {7, 228, 1, 1, 1, 1, 1}), kIend});
  EXPECT_EQ(decoded(file, kInfo), test_pixels(kInfo));
}

TEST(Png, EveryFlippedBitIsDetected) {
  for (const auto& info : {PngInfo{7, 5, 1}, PngInfo{16, 16, 3}}) {
    const Bytes pixels = test_pixels(info);
    const Bytes good = encode_png(info, pixels.data());
    for (size_t bit = 0; bit < good.size() * 8; ++bit) {
      Bytes bad = good;
      bad[bit / 8] ^= static_cast<uint8_t>(1 << bit % 8);
      ASSERT_THROW(decoded(bad, info), PngError) << "bit " << bit;
    }
  }
}

TEST(Png, EveryTruncationIsDetected) {
  const Bytes good = encode_png(kInfo, test_pixels(kInfo).data());
  for (size_t n = 0; n < good.size(); ++n)
    ASSERT_THROW(decoded(Bytes(good.begin(), good.begin() + static_cast<long>(n)), kInfo), PngError)
        << n;
}

TEST(Png, RandomDamageNeverCrashes) {
  const Bytes good = encode_png({64, 64, 1}, test_pixels({64, 64, 1}).data());
  for (uint32_t k = 0; k < 2000; ++k) {
    Philox random(k, Purpose::test);
    Bytes bad = good;
    for (uint32_t n = 1 + random.below(8); n > 0; --n)
      bad[random.below(static_cast<uint32_t>(bad.size()))] =
          static_cast<uint8_t>(random.next_u32());
    if (random.below(2) == 0) bad.resize(random.below(static_cast<uint32_t>(bad.size())));
    if (bad == good) continue;
    ASSERT_THROW(decoded(bad, {64, 64, 1}), PngError) << k;
  }
}

struct BadPng {
  const char* name;
  Bytes bytes;
  PngFault fault;
  const char* message;
};

TEST(Png, BadFilesSayWhatIsWrong) {
  const Bytes good = encode_png(kInfo, test_pixels(kInfo).data());
  const Bytes idat = chunk("IDAT", deflate(raw_rows()));
  const auto with = [&](size_t offset, uint8_t value) {
    Bytes bytes = good;
    bytes[offset] = value;
    return bytes;
  };
  const auto plus = [](Bytes bytes, const Bytes& more) {
    bytes.insert(bytes.end(), more.begin(), more.end());
    return bytes;
  };
  const auto ihdr = [&](const Bytes& h) { return joined({chunk("IHDR", h), idat, kIend}); };
  const Bytes long_rows = plus(raw_rows(), {1, 2, 3});
  Bytes short_rows = raw_rows();
  short_rows.pop_back();
  const std::string lfs = "version https://git-lfs.github.com/spec/v1\noid sha256:0000\nsize 1\n";
  Bytes wrong_adler = deflate(raw_rows());
  wrong_adler.back() ^= 1;
  const BadPng cases[] = {
      {"empty", {}, PngFault::damaged, "is empty"},
      {"shorter than a header", Bytes(good.begin(), good.begin() + 20), PngFault::damaged,
       "has 20 bytes, a PNG header alone has 33"},
      {"JPEG", plus({0xFF, 0xD8, 0xFF, 0xE0}, Bytes(60)), PngFault::damaged,
       "does not begin with the PNG signature"},
      {"Git LFS pointer", Bytes(lfs.begin(), lfs.end()), PngFault::damaged, "Git LFS pointer"},
      {"text mode copy", with(4, '\n'), PngFault::damaged, "signature"},
      {"first chunk not IHDR", joined({chunk("tEXt", Bytes(13)), kIhdr, idat, kIend}),
       PngFault::damaged, "the first chunk is 'tEXt', not IHDR"},
      {"IHDR too long", joined({chunk("IHDR", Bytes(14)), idat, kIend}), PngFault::damaged,
       "IHDR has 14 bytes, should have 13"},
      {"second IHDR", joined({kIhdr, kIhdr, idat, kIend}), PngFault::damaged,
       "chunk 'IHDR' at byte 33 is unknown or out of place"},
      {"zero width", ihdr(header(0, 5)), PngFault::damaged, "declares 0 x 5 pixels"},
      {"zero height", ihdr(header(7, 0)), PngFault::damaged, "declares 7 x 0 pixels"},
      {"huge width", ihdr(header(0x7FFFFFFF, 5)), PngFault::damaged, "declares 2147483647 x 5"},
      {"huge both", ihdr(header(0xFFFFFFFF, 0xFFFFFFFF)), PngFault::damaged,
       "allowed is 1 to 16384 a side"},
      {"16 bits", ihdr(header(7, 5, 16)), PngFault::format, "16 bits a channel, only 8 are read"},
      {"1 bit", ihdr(header(7, 5, 1)), PngFault::format, "1 bits a channel, only 8 are read"},
      {"palette", ihdr(header(7, 5, 8, 3)), PngFault::format, "colour type is 3 (palette)"},
      {"grey with alpha", ihdr(header(7, 5, 8, 4)), PngFault::format, "4 (grey with alpha)"},
      {"RGBA", ihdr(header(7, 5, 8, 6)), PngFault::format, "colour type is 6"},
      {"interlaced", ihdr(header(7, 5, 8, 0, 0, 0, 1)), PngFault::format, "is interlaced"},
      {"unknown compression", ihdr(header(7, 5, 8, 0, 1)), PngFault::format,
       "unknown compression 1"},
      {"RGB where grey is expected", ihdr(header(7, 5, 8, 2)), PngFault::size,
       "is 7 x 5 pixels with 3 channel(s), the screen's images are 7 x 5 with 1"},
      {"another size", encode_png({8, 5, 1}, test_pixels({8, 5, 1}).data()), PngFault::size,
       "is 8 x 5 pixels"},
      {"CRC of IHDR", with(32, static_cast<uint8_t>(good[32] ^ 0xFF)), PngFault::damaged,
       "CRC of the chunk at byte 8"},
      {"CRC of IDAT", with(50, static_cast<uint8_t>(good[50] ^ 1)), PngFault::damaged,
       "CRC of the chunk at byte 33"},
      {"length beyond the file", with(33, 0x7F), PngFault::damaged, "bytes of data"},
      {"no IEND", joined({kIhdr, idat}), PngFault::damaged, "inside a chunk (no IEND)"},
      {"IEND with data", joined({kIhdr, idat, chunk("IEND", {1})}), PngFault::damaged,
       "IEND at byte"},
      {"no IDAT", joined({kIhdr, kIend}), PngFault::damaged,
       "0 bytes of compressed image cannot hold 7 x 5 pixels"},
      {"empty IDAT", joined({kIhdr, chunk("IDAT", {}), kIend}), PngFault::damaged,
       "0 bytes of compressed image"},
      {"two runs of IDAT", joined({kIhdr, idat, chunk("tEXt", {'a', 0}), idat, kIend}),
       PngFault::damaged, "a second run of IDAT chunks"},
      {"extra IDAT", joined({kIhdr, idat, idat, kIend}), PngFault::damaged,
       "bytes follow the compressed image"},
      {"unknown critical chunk", joined({kIhdr, chunk("ABCD", {}), idat, kIend}), PngFault::damaged,
       "chunk 'ABCD' at byte 33 is unknown"},
      {"palette in a grey image", joined({kIhdr, chunk("PLTE", Bytes(3)), idat, kIend}),
       PngFault::damaged, "chunk 'PLTE'"},
      {"bytes after the end", plus(good, {0}), PngFault::damaged,
       "1 bytes follow the end of the image"},
      {"not zlib", joined({kIhdr, chunk("IDAT", Bytes(40, 0x55)), kIend}), PngFault::damaged,
       "the compressed image is invalid"},
      {"wrong Adler checksum", joined({kIhdr, chunk("IDAT", wrong_adler), kIend}),
       PngFault::damaged, "incorrect data check"},
      {"too many rows", joined({kIhdr, chunk("IDAT", deflate(long_rows)), kIend}),
       PngFault::damaged, "holds more bytes, should hold 40"},
      {"too few rows", joined({kIhdr, chunk("IDAT", deflate(short_rows)), kIend}),
       PngFault::damaged, "holds 39 bytes, should hold 40"},
      {"unknown filter", joined({kIhdr, chunk("IDAT", deflate(raw_rows(5))), kIend}),
       PngFault::damaged, "row 3 has the unknown filter 5"},
  };
  for (const BadPng& c : cases) {
    SCOPED_TRACE(c.name);
    try {
      decoded(c.bytes, kInfo);
      ADD_FAILURE() << "no error";
    } catch (const PngError& e) {
      EXPECT_EQ(e.kind(), ErrorKind::data);
      EXPECT_EQ(e.fault(), c.fault);
      EXPECT_THAT(e.what(), testing::StartsWith("x.png: "));
      EXPECT_THAT(e.what(), testing::HasSubstr(c.message));
      EXPECT_THAT(e.what(), testing::HasSubstr("; ")) << "no remedy";
    }
  }
}

TEST(Png, DeclaredSizeIsNotAllocatedForASmallFile) {
  // 16384 x 16384 RGB in 80 bytes: refused by what the file can hold, not by running out of memory.
  const PngInfo info{kMaxImageSide, kMaxImageSide, 3};
  const Bytes file = joined(
      {chunk("IHDR", header(16384, 16384, 8, 2)), chunk("IDAT", deflate(raw_rows())), kIend});
  uint8_t none = 0;
  try {
    decode_png(file, "bomb.png", info, &none);
    ADD_FAILURE() << "no error";
  } catch (const PngError& e) {
    EXPECT_THAT(e.what(), testing::HasSubstr("cannot hold 16384 x 16384 pixels"));
  }
}

TEST(Png, FilesThatCannotBeRead) {
  test::TempDir dir;
  const auto fault_of = [](const std::filesystem::path& path) {
    try {
      read_png_file(path, "f.png");
    } catch (const PngError& e) {
      EXPECT_THAT(e.what(), testing::StartsWith("f.png: "));
      return e.fault();
    }
    ADD_FAILURE() << "no error";
    return PngFault::size;
  };
  EXPECT_EQ(fault_of(dir / "none.png"), PngFault::missing);
  EXPECT_EQ(fault_of(dir.path()), PngFault::damaged);
  EXPECT_THROW(write_png(dir / "no" / "such.png", kInfo, test_pixels(kInfo).data()), Error);
}

TEST(Png, RealImages) {
  const auto root = test::real_data("dylanskinner65_034524c");
  if (root.empty()) GTEST_SKIP() << "../shared/data/rxrx1 is not at hand";
  int count = 0;
  const PngInfo info{512, 512, 1};
  Bytes pixels(info.bytes());
  for (const auto& entry : std::filesystem::recursive_directory_iterator(root)) {
    if (entry.path().extension() != ".png") continue;
    const Bytes file = read_png_file(entry.path(), entry.path().native());
    decode_png(file, entry.path().native(), info, pixels.data());
    if (count++ % 20 == 0) {
      EXPECT_EQ(decoded(encode_png(info, pixels.data()), info), pixels);
    }
  }
  EXPECT_EQ(count, 180);
}

}  // namespace
}  // namespace mono
