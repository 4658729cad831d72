#include "train/data/synth_cells.h"

#include <algorithm>
#include <cmath>
#include <numbers>

namespace mono::synth {
namespace {

constexpr double kPi = std::numbers::pi;

// Lengths in pixels of the real 512-pixel image. Density and nuclear size as measured on the
// untreated wells of real images (nuclei per 256 x 256 crop, HEPG2 between its two experiments).
struct CellTypeConstants {
  double cells_per_crop;
  double nucleus;        // geometric mean of the nucleus' semi-axes
  double nuclear_ratio;  // long / short
  double spread;         // radius of a cell / radius of the area that it has on average
  double cell_ratio;     // long / short
  double disorder;       // of the cells' directions, radians
  double fibres, cortex, mito_length;
};
constexpr std::array<CellTypeConstants, kAllCellTypes> kCellTypeConstants = {{
    {20.0, 10.8, 1.45, 1.00, 1.35, 0.5, 0.8, 0.8, 11.0},   // HUVEC
    {18.0, 12.4, 1.40, 1.10, 1.55, 0.35, 1.1, 0.6, 13.0},  // RPE
    {40.0, 9.0, 1.20, 1.05, 1.10, 1.6, 0.25, 1.2, 7.0},    // HEPG2
    {27.0, 12.2, 1.25, 1.05, 1.15, 1.2, 0.6, 0.9, 9.0},    // U2OS
    {26.0, 11.0, 1.25, 1.00, 1.15, 1.3, 0.5, 0.9, 9.0},    // A549; by eye
}};

// The size of one step of each trait; a phenotype moves a trait by one to two steps.
constexpr std::array<double, kGain1> kTraitStep = {
    0.16,  // nuclear size
    0.16,  // nuclear elongation
    0.55,  // chromatin texture
    0.18,  // density
    0.18,  // cell elongation
    0.35,  // ER spread
    0.55,  // ER texture
    0.55,  // fibres
    0.55,  // cortex
    0.45,  // nucleoli count
    0.45,  // nucleoli contrast
    0.35,  // mitochondria spread
    0.45,  // mitochondria coverage
    0.30,  // Golgi size
    0.50,  // Golgi amount
    0.80,  // binucleation
};
constexpr double kGainStep = 0.10;       // brightness of a channel: every siRNA, every channel
constexpr double kMoved = 0.40;          // share of the traits that a siRNA moves
constexpr int kCandidates = 12;          // per phenotype
constexpr double kResponseSpread = 0.2;  // standard deviation of a cell type's response
constexpr int kMaxNucleoli = 8, kGolgiSpecks = 6;

struct Spot {
  float u, v, weight;
};

struct Cell {
  float x, y;                   // centre, pixels of the real image
  float cosine, sine;           // its long axis
  float long_axis, short_axis;  // semi-axes of the territory
  float nucleus_long, nucleus_short;
  float second_nucleus;  // offset of the two nuclei of a binucleated cell, 0 for one
  float dna, er, rna, mito, golgi, actin;  // amounts
  float fibre_cosine, fibre_sine, fibre_phase;
  float pole_u, pole_v;  // unit vector from nucleus to the juxtanuclear pole
  bool rounded;          // dividing or dying: small, round and bright
  std::array<Spot, kMaxNucleoli> nucleoli;
  int num_nucleoli;
  std::array<Spot, kGolgiSpecks> golgi_specks;
};

float smooth_step(float x) {  // 0 below 0, 1 above 1
  x = std::clamp(x, 0.0f, 1.0f);
  return x * x * (3.0f - 2.0f * x);
}

double log_normal(Philox& random, double sigma) {
  return std::exp(sigma * random.normal());
}

// ---- Cells -------------------------------------------------------------------------------------

Cell draw_cell(const CellTypeConstants& type, const Traits& t, double x, double y, double direction,
               double territory, Philox& random) {
  Cell cell{};
  cell.x = static_cast<float>(x);
  cell.y = static_cast<float>(y);
  const double angle = direction + type.disorder * random.normal();
  cell.cosine = static_cast<float>(std::cos(angle));
  cell.sine = static_cast<float>(std::sin(angle));
  cell.rounded = random.uniform() < 0.03;
  const double ratio = cell.rounded ? 1.0 : type.cell_ratio * std::exp(t[kCellElongation]);
  const double radius = territory * log_normal(random, 0.12) * (cell.rounded ? 0.5 : 1.0);
  cell.long_axis = static_cast<float>(radius * std::sqrt(ratio));
  cell.short_axis = static_cast<float>(radius / std::sqrt(ratio));

  const double nuclear_ratio = std::max(
      1.0, type.nuclear_ratio * std::exp(t[kNuclearElongation]) * log_normal(random, 0.08));
  double nucleus = type.nucleus * std::exp(t[kNuclearSize]) * log_normal(random, 0.08);
  if (cell.rounded) nucleus *= 0.75;
  if (random.uniform() < std::min(0.8, 0.06 * std::exp(t[kBinucleation]))) {
    nucleus *= 0.82;
    cell.second_nucleus = static_cast<float>(0.95 * nucleus);
  }
  cell.nucleus_long = static_cast<float>(nucleus * std::sqrt(nuclear_ratio));
  cell.nucleus_short = static_cast<float>(nucleus / std::sqrt(nuclear_ratio));

  const double bright = cell.rounded ? 2.2 : 1.0;
  const double dna = random.uniform() < 0.25 ? 1.5 : 1.0;  // G2
  cell.dna = static_cast<float>(dna * bright * log_normal(random, 0.12));
  const double body = bright * log_normal(random, 0.28);  // thickness: common to the stains
  cell.er = static_cast<float>(body * log_normal(random, 0.12));
  cell.rna = static_cast<float>(body * log_normal(random, 0.12));
  cell.mito = static_cast<float>(body * log_normal(random, 0.2));
  cell.golgi = static_cast<float>(log_normal(random, 0.2));
  cell.actin = static_cast<float>(log_normal(random, 0.2));

  const double fibre_angle = angle + 0.25 * random.normal();
  cell.fibre_cosine = static_cast<float>(std::cos(fibre_angle));
  cell.fibre_sine = static_cast<float>(std::sin(fibre_angle));
  cell.fibre_phase = static_cast<float>(64.0 * random.uniform());

  const double pole = 2.0 * kPi * random.uniform();
  cell.pole_u = static_cast<float>(std::cos(pole));
  cell.pole_v = static_cast<float>(std::sin(pole));
  const double wanted = 2.5 * std::exp(t[kNucleoliCount]);
  cell.num_nucleoli = std::clamp(static_cast<int>(wanted + random.uniform()), 1, kMaxNucleoli);
  for (Spot& spot : cell.nucleoli) {
    const double r = 0.62 * std::sqrt(random.uniform()), a = 2.0 * kPi * random.uniform();
    spot = {static_cast<float>(r * std::cos(a) * cell.nucleus_long),
            static_cast<float>(r * std::sin(a) * cell.nucleus_short),
            static_cast<float>(log_normal(random, 0.25))};
  }
  const double golgi_radius = 4.0 * std::exp(t[kGolgiSize]);
  for (Spot& spot : cell.golgi_specks)
    spot = {static_cast<float>(cell.pole_u * (cell.nucleus_long + 4.0) +
                               golgi_radius * random.normal()),
            static_cast<float>(cell.pole_v * (cell.nucleus_short + 4.0) +
                               golgi_radius * random.normal()),
            static_cast<float>(log_normal(random, 0.3))};
  return cell;
}

// Scatters cells over the field and a margin around it, at least a fraction of the mean spacing
// apart; a coarse noise field leaves gaps in the monolayer.
std::vector<Cell> scatter_cells(const CellTypeConstants& type, const Traits& t, double side,
                                Philox& random) {
  const double density =
      type.cells_per_crop / (256.0 * 256.0) * std::exp(t[kDensity]) * log_normal(random, 0.10);
  const double spacing = 1.0 / std::sqrt(density);
  const double territory = type.spread * spacing / std::sqrt(kPi);
  const double margin = 1.2 * spacing, extent = side + 2.0 * margin;
  const int wanted = std::max(1, static_cast<int>(density * extent * extent + random.uniform()));
  const double direction = kPi * random.uniform();
  // Up to 30 tries a cell; each rejected try shrinks the distance asked for, so that dense fields
  // fill up instead of stopping short.
  std::vector<Cell> cells;
  double distance = 0.85 * spacing;
  for (int tries = 0; static_cast<int>(cells.size()) < wanted && tries < 30 * wanted; ++tries) {
    const double x = extent * random.uniform() - margin, y = extent * random.uniform() - margin;
    bool free = true;
    for (const Cell& other : cells) {
      const double dx = x - other.x, dy = y - other.y;
      if (dx * dx + dy * dy < distance * distance) {
        free = false;
        break;
      }
    }
    if (free)
      cells.push_back(draw_cell(type, t, x, y, direction, territory, random));
    else
      distance *= 1.0 - 0.05 / wanted;
  }
  return cells;
}

// ---- Fibres ------------------------------------------------------------------------------------

// Noise on an endless plane: a lattice of Philox values that repeats. Sampled with one axis
// stretched it gives streaks in any direction.
struct Streaks {
  static constexpr int kPeriod = 64;
  std::array<float, kPeriod * kPeriod> lattice;

  explicit Streaks(Philox random) {
    for (float& value : lattice) value = static_cast<float>(2.0 * random.uniform() - 1.0);
  }
  float at(float x, float y) const {
    const float floor_x = std::floor(x), floor_y = std::floor(y);
    const auto node = [this](int i, int j) {
      return lattice[static_cast<size_t>((j & (kPeriod - 1)) * kPeriod + (i & (kPeriod - 1)))];
    };
    const int i = static_cast<int>(floor_x), j = static_cast<int>(floor_y);
    const float fx = smooth_step(x - floor_x), fy = smooth_step(y - floor_y);
    const float top = node(i, j) + fx * (node(i + 1, j) - node(i, j));
    const float bottom = node(i, j + 1) + fx * (node(i + 1, j + 1) - node(i, j + 1));
    return top + fy * (bottom - top);
  }
};

// ---- Territories -------------------------------------------------------------------------------

// For each pixel the cell it belongs to (-1: none) and two distances.
struct Territories {
  std::vector<int> owner;
  std::vector<float> reach;   // normalised distance from the owner's centre: 1 at its rim
  std::vector<float> border;  // distance to the border of the territory, pixels of the real image
};

Territories assign_territories(const std::vector<Cell>& cells, int size, double pixel,
                               const std::vector<float>& warp) {
  const size_t count = static_cast<size_t>(size) * static_cast<size_t>(size);
  Territories out{std::vector<int>(count, -1), std::vector<float>(count, 1e6f),
                  std::vector<float>(count, 0.0f)};
  std::vector<float> second(count, 1e6f);
  for (size_t i = 0; i < cells.size(); ++i) {
    const Cell& cell = cells[i];
    const double range = 2.0 * cell.long_axis;
    const auto low = [&](double centre) {
      return std::max(0, static_cast<int>((centre - range) / pixel));
    };
    const auto high = [&](double centre) {
      return std::min(size - 1, static_cast<int>((centre + range) / pixel));
    };
    for (int row = low(cell.y); row <= high(cell.y); ++row)
      for (int column = low(cell.x); column <= high(cell.x); ++column) {
        const size_t at =
            static_cast<size_t>(row) * static_cast<size_t>(size) + static_cast<size_t>(column);
        const float dx = static_cast<float>((column + 0.5) * pixel) - cell.x;
        const float dy = static_cast<float>((row + 0.5) * pixel) - cell.y;
        const float u = (dx * cell.cosine + dy * cell.sine) / cell.long_axis;
        const float v = (dy * cell.cosine - dx * cell.sine) / cell.short_axis;
        const float d = std::sqrt(u * u + v * v) * (1.0f + 0.14f * warp[at]);
        if (d < out.reach[at]) {
          second[at] = out.reach[at];
          out.reach[at] = d;
          out.owner[at] = static_cast<int>(i);
        } else if (d < second[at]) {
          second[at] = d;
        }
      }
  }
  for (size_t at = 0; at < count; ++at) {
    if (out.owner[at] < 0) continue;
    const float inside =
        std::min(0.5f * (second[at] - out.reach[at]), std::abs(1.0f - out.reach[at]));
    out.border[at] = inside * cells[static_cast<size_t>(out.owner[at])].short_axis;
  }
  return out;
}

// ---- Channels ----------------------------------------------------------------------------------

// What the traits make of the channels, computed once per field.
struct Staining {
  float chromatin, er_length, er_texture, fibres, cortex, nucleoli, mito_length, mito_threshold,
      golgi, golgi_size;
  float softness;  // half width of an edge, about a pixel
  float fibre_width;
  std::array<float, kChannels> gain;
};

Staining staining_of(const CellTypeConstants& type, const Traits& t, double pixel) {
  Staining s{};
  const auto times = [&t](double constant, Trait trait) {
    return static_cast<float>(constant * std::exp(t[trait]));
  };
  s.chromatin = times(0.18, kChromatinTexture);
  s.er_length = times(11.0, kErSpread);
  s.er_texture = times(0.25, kErTexture);
  s.fibres = times(type.fibres, kFibres);
  s.cortex = times(type.cortex, kCortex);
  s.nucleoli = times(0.8, kNucleoliContrast);
  s.mito_length = times(type.mito_length, kMitoSpread);
  s.mito_threshold = static_cast<float>(0.3 - t[kMitoCoverage]);
  s.golgi = times(1.1, kGolgiAmount);
  s.golgi_size = times(2.0, kGolgiSize);
  s.softness = static_cast<float>(std::max(1.2, 0.6 * pixel));
  s.fibre_width = static_cast<float>(std::max(2.6, 1.2 * pixel));
  constexpr std::array<double, kChannels> unit = {3.2, 2.4, 1.6, 2.1, 4.0, 1.9};
  for (int c = 0; c < kChannels; ++c)
    s.gain[static_cast<size_t>(c)] = static_cast<float>(
        unit[static_cast<size_t>(c)] * std::exp(t[static_cast<size_t>(kGain1 + c)]));
  return s;
}

float spots_at(const Spot* spots, int count, float u, float v, float radius) {
  float sum = 0.0f;
  const float scale = 0.5f / (radius * radius);
  for (int i = 0; i < count; ++i) {
    const float du = u - spots[i].u, dv = v - spots[i].v;
    const float exponent = (du * du + dv * dv) * scale;
    if (exponent < 8.0f) sum += spots[i].weight * std::exp(-exponent);
  }
  return sum;
}

// The noise of one pixel.
struct Noise {
  float fine, medium, specks, chromatin;
};

// The six channels of one pixel inside a cell, at (dx, dy) from its centre.
std::array<float, kChannels> paint(const Cell& cell, const Staining& s, float dx, float dy, float x,
                                   float y, float reach, float border, const Noise& noise,
                                   const Streaks& streaks) {
  const float u = dx * cell.cosine + dy * cell.sine;
  const float v = dy * cell.cosine - dx * cell.sine;
  const float nv = cell.second_nucleus > 0.0f ? std::abs(v) - cell.second_nucleus : v;
  const float nu = u / cell.nucleus_long, nw = nv / cell.nucleus_short;
  const float nuclear = (std::sqrt(nu * nu + nw * nw) - 1.0f) *
                        std::sqrt(cell.nucleus_long * cell.nucleus_short);  // from its envelope
  const float nucleus = smooth_step(0.5f - nuclear / (2.0f * s.softness));
  const float mask = smooth_step((1.05f - reach) * cell.short_axis / (2.0f * s.softness) + 0.5f);
  const float cytoplasm = mask * (1.0f - nucleus);
  const float outside = std::max(nuclear, 0.0f);

  const float er_profile = 0.12f + 0.88f * std::exp(-outside / s.er_length);
  const float er = cytoplasm * er_profile * std::max(0.0f, 1.0f + s.er_texture * noise.fine);

  const float along = x * cell.fibre_cosine + y * cell.fibre_sine;
  const float across = y * cell.fibre_cosine - x * cell.fibre_sine;
  const float streak = streaks.at(across / s.fibre_width + cell.fibre_phase, along / 32.0f);
  const float fibre = smooth_step(1.7f * streak - 0.1f + 0.25f * noise.medium);
  const float rim = border / (1.2f + s.softness);
  const float edge = std::exp(-rim * rim) * std::max(0.0f, 0.8f + 0.5f * noise.medium);
  const float actin = cell.actin * (mask * (0.3f + s.fibres * fibre) + s.cortex * edge);

  const float spots = nucleus * spots_at(cell.nucleoli.data(), cell.num_nucleoli, u, nv,
                                         std::max(1.8f, 0.55f * s.softness));
  const float direction = (u * cell.pole_u + v * cell.pole_v) / (std::sqrt(u * u + v * v) + 1.0f);
  const float speck = smooth_step((noise.specks - s.mito_threshold) / 0.9f + 0.3f);
  const float mito =
      cytoplasm * std::exp(-outside / s.mito_length) * (1.0f + 0.6f * direction) * (0.15f + speck);
  const float golgi = cytoplasm * std::min(2.5f, spots_at(cell.golgi_specks.data(), kGolgiSpecks, u,
                                                          v, s.golgi_size));

  std::array<float, kChannels> out;
  out[0] = cell.dna * nucleus * std::max(0.1f, 1.0f + s.chromatin * noise.chromatin) + 0.03f * mask;
  out[1] = cell.er * (er + 0.18f * nucleus) + 0.03f * mask;
  out[2] = actin;
  out[3] = cell.rna * (0.8f * er + nucleus * (0.28f + s.nucleoli * std::min(spots, 1.5f))) +
           0.03f * mask;
  out[4] = cell.mito * mito + 0.03f * mask;
  out[5] =
      cell.golgi * (0.55f * nucleus + s.golgi * golgi) + 0.2f * mask + 0.2f * edge + 0.12f * actin;
  for (int c = 0; c < kChannels; ++c) out[static_cast<size_t>(c)] *= s.gain[static_cast<size_t>(c)];
  return out;
}

}  // namespace

// ---- Phenotypes --------------------------------------------------------------------------------

namespace {

Traits draw_candidate(Philox random) {
  Traits traits{};
  for (int t = 0; t < kGain1; ++t) {
    const bool moved = random.uniform() < kMoved;
    const double steps = 1.0 + random.uniform();
    const double sign = random.uniform() < 0.5 ? -1.0 : 1.0;
    if (moved) traits[static_cast<size_t>(t)] = sign * steps * kTraitStep[static_cast<size_t>(t)];
  }
  for (int c = 0; c < kChannels; ++c)
    traits[static_cast<size_t>(kGain1 + c)] = kGainStep * random.normal();
  return traits;
}

// In steps, over the traits of shape and texture.
double squared_distance(const Traits& a, const Traits& b) {
  double sum = 0.0;
  for (size_t t = 0; t < kGain1; ++t) {
    const double d = (a[t] - b[t]) / kTraitStep[t];
    sum += d * d;
  }
  return sum;
}

}  // namespace

std::vector<Traits> draw_phenotypes(int sirnas, uint64_t seed) {
  std::vector<Traits> phenotypes;
  for (int s = 0; s < sirnas; ++s) {
    Traits best{};
    double best_distance = -1.0;
    for (int candidate = 0; candidate < kCandidates; ++candidate) {
      const Traits traits = draw_candidate(stream(seed, Draw::phenotype, s, candidate));
      double nearest = squared_distance(traits, Traits{});  // EMPTY is a class as well
      for (const Traits& other : phenotypes)
        nearest = std::min(nearest, squared_distance(traits, other));
      if (nearest > best_distance) {
        best_distance = nearest;
        best = traits;
      }
    }
    phenotypes.push_back(best);
  }
  phenotypes.push_back(Traits{});
  return phenotypes;
}

Traits draw_response(int sirna, CellType type, uint64_t seed) {
  Philox random = stream(seed, Draw::response, sirna, static_cast<int>(type));
  Traits response;
  for (double& r : response) r = 1.0 + kResponseSpread * random.normal();
  return response;
}

// ---- Field -------------------------------------------------------------------------------------

double pixel_side(int image_size) {
  return std::sqrt(512.0 / image_size);
}

void fill_noise(std::vector<float>& plane, int size, double spacing, Philox random) {
  const int nodes = static_cast<int>(size / spacing) + 3;
  const double shift_x = random.uniform(), shift_y = random.uniform();
  std::vector<float> lattice(static_cast<size_t>(nodes) * static_cast<size_t>(nodes));
  // Uniform values of unit variance; interpolation takes about a third of the standard deviation.
  for (float& value : lattice)
    value = static_cast<float>((2.0 * random.uniform() - 1.0) * std::sqrt(3.0) * 1.45);
  plane.resize(static_cast<size_t>(size) * static_cast<size_t>(size));
  for (int row = 0; row < size; ++row) {
    const double y = row / spacing + shift_y;
    const int j = static_cast<int>(y);
    const float fy = smooth_step(static_cast<float>(y - j));
    const float* upper = lattice.data() + static_cast<size_t>(j) * static_cast<size_t>(nodes);
    const float* lower = upper + nodes;
    for (int column = 0; column < size; ++column) {
      const double x = column / spacing + shift_x;
      const int i = static_cast<int>(x);
      const float fx = smooth_step(static_cast<float>(x - i));
      const float top = upper[i] + fx * (upper[i + 1] - upper[i]);
      const float bottom = lower[i] + fx * (lower[i + 1] - lower[i]);
      plane[static_cast<size_t>(row) * static_cast<size_t>(size) + static_cast<size_t>(column)] =
          top + fy * (bottom - top);
    }
  }
}

Field render_cells(CellType type, const Traits& traits, int image_size, uint64_t seed,
                   int64_t site) {
  const CellTypeConstants& constants = kCellTypeConstants[static_cast<size_t>(type)];
  const double pixel = pixel_side(image_size);
  Philox random = stream(seed, Draw::cells, site);
  const std::vector<Cell> cells = scatter_cells(constants, traits, image_size * pixel, random);

  enum { kWarp, kFine, kMedium, kSpecks, kChromatin, kNoises };
  constexpr std::array<double, kNoises> spacing = {22.0, 4.5, 14.0, 5.0, 4.0};
  std::array<std::vector<float>, kNoises> noise;
  for (int k = 0; k < kNoises; ++k)
    fill_noise(noise[static_cast<size_t>(k)], image_size,
               std::max(1.3, spacing[static_cast<size_t>(k)] / pixel),
               stream(seed, Draw::texture, site, k));

  const Streaks streaks(stream(seed, Draw::texture, site, kNoises));
  const Territories territories = assign_territories(cells, image_size, pixel, noise[kWarp]);
  const Staining staining = staining_of(constants, traits, pixel);
  Field field;
  field.size = image_size;
  for (auto& plane : field.planes) plane.assign(territories.owner.size(), 0.0f);
  for (int row = 0; row < image_size; ++row)
    for (int column = 0; column < image_size; ++column) {
      const size_t at =
          static_cast<size_t>(row) * static_cast<size_t>(image_size) + static_cast<size_t>(column);
      if (territories.owner[at] < 0) continue;
      const Cell& cell = cells[static_cast<size_t>(territories.owner[at])];
      const float x = static_cast<float>((column + 0.5) * pixel);
      const float y = static_cast<float>((row + 0.5) * pixel);
      const Noise here{noise[kFine][at], noise[kMedium][at], noise[kSpecks][at],
                       noise[kChromatin][at]};
      const std::array<float, kChannels> value =
          paint(cell, staining, x - cell.x, y - cell.y, x, y, territories.reach[at],
                territories.border[at], here, streaks);
      for (size_t c = 0; c < kChannels; ++c) field.planes[c][at] = value[c];
    }
  return field;
}

}  // namespace mono::synth
