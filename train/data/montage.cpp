#include "train/data/montage.h"

#include "kernels/base/error.h"
#include "train/data/font.h"
#include "train/data/image_stats.h"

#include <algorithm>
#include <array>
#include <map>
#include <numeric>
#include <set>
#include <tuple>

namespace mono {
namespace {

constexpr int kGap = 6;
// A site id has up to 18 characters: small tiles need small letters.
int text_scale(int tile) {
  return tile >= 18 * kFontWidth * 2 ? 2 : 1;
}

// Planes (n,size,size) averaged or repeated to (n,tile,tile).
std::vector<uint8_t> resized(const std::vector<uint8_t>& planes, int n, int size, int tile) {
  std::vector<uint8_t> out(static_cast<size_t>(n) * static_cast<size_t>(tile) *
                           static_cast<size_t>(tile));
  uint8_t* to = out.data();
  for (int c = 0; c < n; ++c) {
    const uint8_t* from = planes.data() + static_cast<size_t>(c) * static_cast<size_t>(size) *
                                              static_cast<size_t>(size);
    for (int y = 0; y < tile; ++y)
      for (int x = 0; x < tile; ++x) {
        const int y0 = y * size / tile, y1 = std::max((y + 1) * size / tile, y0 + 1);
        const int x0 = x * size / tile, x1 = std::max((x + 1) * size / tile, x0 + 1);
        int sum = 0;
        for (int v = y0; v < y1; ++v)
          for (int u = x0; u < x1; ++u) sum += from[v * size + u];
        const int count = (y1 - y0) * (x1 - x0);
        *to++ = static_cast<uint8_t>((sum + count / 2) / count);
      }
  }
  return out;
}

void paste(Picture& picture, int left, int top, const std::vector<uint8_t>& rgb, int tile) {
  for (int y = 0; y < tile; ++y)
    std::copy_n(
        rgb.data() + static_cast<size_t>(y) * static_cast<size_t>(tile) * 3, tile * 3,
        picture.rgb.data() + (static_cast<size_t>(top + y) * static_cast<size_t>(picture.width) +
                              static_cast<size_t>(left)) *
                                 3);
}

// The count below which `part` of the pixels lie.
int percentile(const Histogram& histogram, double part) {
  uint64_t pixels = 0, below = 0;
  for (const uint64_t count : histogram.count) pixels += count;
  int value = 0;
  while (value < 255 && static_cast<double>(below += histogram.count[static_cast<size_t>(value)]) <=
                            part * static_cast<double>(pixels))
    ++value;
  return value;
}

// What a channel's counts are shown from and to.
struct CountRange {
  int low = 0, high = 255;
};
CountRange range_between(const Histogram& histogram, double low, double high) {
  const int from = percentile(histogram, low);
  return {from, std::max(percentile(histogram, high), from + 1)};
}

// Each channel scaled to 0..1 by its range, times its colour, summed, clipped.
std::vector<uint8_t> composite(std::span<const ChannelDisplay> displays,
                               std::span<const CountRange> ranges, const uint8_t* planes,
                               size_t pixels) {
  std::vector<uint8_t> rgb(pixels * 3);
  for (size_t i = 0; i < pixels; ++i) {
    std::array<int, 3> sum{};
    for (size_t k = 0; k < displays.size(); ++k) {
      const auto [low, high] = ranges[k];
      const int x = std::clamp<int>(planes[k * pixels + i], low, high) - low;
      for (size_t j = 0; j < 3; ++j) sum[j] += x * displays[k].colour[j] / (high - low);
    }
    for (size_t j = 0; j < 3; ++j) rgb[i * 3 + j] = static_cast<uint8_t>(std::min(sum[j], 255));
  }
  return rgb;
}

// Text in at most `width` pixels: in small letters, and cut, where it must be.
void draw_fitted(Picture& picture, int x, int y, int scale, int width, std::string text) {
  if (static_cast<int>(text.size()) * kFontWidth * scale > width) scale = 1;
  const size_t most = static_cast<size_t>(std::max(width / (kFontWidth * scale), 2));
  if (text.size() > most) text = text.substr(0, most - 2) + "..";
  draw_text(picture, x, y, scale, text);
}

struct Row {
  std::string title;
  std::vector<int> sites;
};

// At most `columns` complete sites that `accept` takes, of as many experiments as possible: first
// one of each (spread over them if there are too many), then a second one of each on another plate
// if there is one, and so on. In the order of the table.
std::vector<int> choose_sites(const Dataset& dataset, int columns, auto&& accept) {
  std::map<int, std::vector<int>> of_experiment;
  for (int i = 0; i < static_cast<int>(dataset.sites.size()); ++i) {
    const Site& site = dataset.sites[static_cast<size_t>(i)];
    if (dataset.complete(i) && accept(site)) of_experiment[site.experiment].push_back(i);
  }
  const auto wanted = static_cast<size_t>(columns);
  std::vector<int> chosen;
  for (size_t round = 0; chosen.size() < wanted; ++round) {
    std::vector<int> sites;
    for (auto& [experiment, all] : of_experiment) {
      if (round == 0)  // plates in turn: sorted by site, well and only then plate
        std::stable_sort(all.begin(), all.end(), [&](int a, int b) {
          const Site &x = dataset.sites[static_cast<size_t>(a)],
                     &y = dataset.sites[static_cast<size_t>(b)];
          return std::tie(x.site, x.well, x.plate) < std::tie(y.site, y.well, y.plate);
        });
      if (round < all.size()) sites.push_back(all[round]);
    }
    if (sites.empty()) break;
    const size_t n = sites.size(), keep = std::min(n, wanted - chosen.size());
    for (size_t k = 0; k < keep; ++k) chosen.push_back(sites[k * n / keep]);
  }
  std::sort(chosen.begin(), chosen.end());
  return chosen;
}

std::vector<Row> choose_rows(const Dataset& dataset, const MontageLayout& layout) {
  std::vector<Row> rows;
  for (const std::string& name : layout.sirna) {
    const auto of_sirna = [&](const Site& s) { return s.sirna == name; };
    rows.push_back({name, choose_sites(dataset, layout.columns, of_sirna)});
    if (rows.back().sites.empty())
      fail(ErrorKind::usage,
           "treatment '{}' has no site with all images below {}; names are those of the table",
           name, dataset.root.string());
  }
  if (!layout.sirna.empty()) return rows;
  for (const std::string& type : dataset.cell_types) {
    const auto of_type = [&](const Site& s) { return s.cell_type == type; };
    const auto untreated = [&](const Site& s) {
      return of_type(s) && s.well_type == WellType::negative_control;
    };
    Row row{type + ", negative control", choose_sites(dataset, layout.columns, untreated)};
    if (row.sites.empty())
      row = {type + ", any well", choose_sites(dataset, layout.columns, of_type)};
    if (!row.sites.empty()) rows.push_back(std::move(row));
  }
  if (rows.empty())
    fail(ErrorKind::data,
         "{}: no site has all of its images; `train_rxrx data check` lists what is missing",
         dataset.root.string());
  return rows;
}

}  // namespace

void draw_text(Picture& picture, int x, int y, int scale, const std::string& text) {
  for (const char c : text) {
    for (int v = 0; v < kFontHeight * scale; ++v)
      for (int u = 0; u < kFontWidth * scale; ++u) {
        const int px = x + u, py = y + v;
        if (px < 0 || py < 0 || px >= picture.width || py >= picture.height ||
            !font_pixel(c, u / scale, v / scale))
          continue;
        uint8_t* p = &picture.rgb[(static_cast<size_t>(py) * static_cast<size_t>(picture.width) +
                                   static_cast<size_t>(px)) *
                                  3];
        p[0] = p[1] = p[2] = 235;
      }
    x += kFontWidth * scale;
  }
}

Picture draw_grid(const Dataset& dataset, const ImageSource& images,
                  const std::vector<MontageRow>& rows, int tile, MontageScale scaling) {
  const std::vector<ChannelDisplay> displays = channel_displays(dataset);
  std::vector<int> channels(displays.size());
  std::iota(channels.begin(), channels.end(), 0);
  const int size = images.height(), count = static_cast<int>(channels.size());
  const size_t pixels = static_cast<size_t>(tile) * static_cast<size_t>(tile);
  const auto read = [&](int site) {
    std::vector<uint8_t> planes(channels.size() * static_cast<size_t>(size) *
                                static_cast<size_t>(size));
    images.read(site, channels, planes.data());
    return resized(planes, count, size, tile);
  };

  const int scale = text_scale(tile), text_height = kFontHeight * scale + 3 * scale;
  Picture picture;
  picture.height = kGap;
  size_t columns = 1;
  for (const MontageRow& row : rows) {
    columns = std::max(columns, row.tiles.size());
    picture.height += (row.title.empty() ? 1 : 2) * text_height + tile + 2 * kGap;
  }
  picture.width = static_cast<int>(columns) * (tile + kGap) + kGap;
  if (picture.width > kMaxImageSide || picture.height > kMaxImageSide)
    fail(ErrorKind::usage,
         "a montage of {} x {} pixels is too large (at most {} a side); make the "
         "tiles smaller or ask for fewer rows",
         picture.width, picture.height, kMaxImageSide);
  picture.rgb.assign(static_cast<size_t>(picture.width) * static_cast<size_t>(picture.height) * 3,
                     24);

  std::vector<CountRange> ranges;
  for (const ChannelDisplay& display : displays) ranges.push_back({0, display.high});
  if (scaling == MontageScale::percentiles) {
    std::vector<Histogram> histograms(displays.size());
    std::set<int> sites;
    for (const MontageRow& row : rows)
      for (const MontageTile& t : row.tiles)
        if (t.site >= 0) sites.insert(t.site);
    for (const int site : sites) {
      const std::vector<uint8_t> planes = read(site);
      for (size_t c = 0; c < histograms.size(); ++c)
        histograms[c].add(std::span(planes).subspan(c * pixels, pixels));
    }
    for (size_t c = 0; c < histograms.size(); ++c)
      ranges[c] = range_between(histograms[c], 0.001, 0.999);
  }

  int top = kGap, shown = -1;
  std::vector<uint8_t> planes;
  for (const MontageRow& row : rows) {
    if (!row.title.empty()) {
      draw_fitted(picture, kGap, top, scale, picture.width - 2 * kGap, row.title);
      top += text_height;
    }
    for (size_t k = 0; k < row.tiles.size(); ++k) {
      const MontageTile& t = row.tiles[k];
      const int left = kGap + static_cast<int>(k) * (tile + kGap);
      draw_fitted(picture, left, top, scale, tile, t.caption);
      if (t.site < 0) continue;
      if (t.site != shown) planes = read(t.site);
      shown = t.site;
      if (t.channel < 0) {
        paste(picture, left, top + text_height, composite(displays, ranges, planes.data(), pixels),
              tile);
        continue;
      }
      const size_t c = static_cast<size_t>(t.channel);
      Histogram histogram;
      histogram.add(std::span(planes).subspan(c * pixels, pixels));
      const CountRange range = range_between(histogram, 0.005, 0.995);
      paste(picture, left, top + text_height,
            composite(std::span(displays).subspan(c, 1), std::span(&range, 1),
                      planes.data() + c * pixels, pixels),
            tile);
    }
    top += text_height + tile + 2 * kGap;
  }
  return picture;
}

Picture draw_montage(const Dataset& dataset, const ImageSource& images,
                     const MontageLayout& layout) {
  std::vector<MontageRow> rows;
  for (const Row& row : choose_rows(dataset, layout)) {
    MontageRow& drawn = rows.emplace_back(MontageRow{row.title, {}});
    for (const int site : row.sites)
      drawn.tiles.push_back({site, -1, dataset.sites[static_cast<size_t>(site)].site_id});
  }
  const int shown = rows.back().tiles.front().site;
  MontageRow& channels = rows.emplace_back();
  channels.title = "Channels of " + dataset.sites[static_cast<size_t>(shown)].site_id +
                   ", each from its 0.5 to its 99.5 percentile. Above: fixed ranges.";
  const std::vector<ChannelDisplay> displays = channel_displays(dataset);
  for (int c = 0; c < static_cast<int>(displays.size()); ++c)
    channels.tiles.push_back(
        {shown, c, fmt::format("{} {}", c + 1, displays[static_cast<size_t>(c)].name)});
  return draw_grid(dataset, images, rows, layout.tile, MontageScale::fixed);
}

}  // namespace mono
