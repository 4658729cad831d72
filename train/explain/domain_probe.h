// How well a linear probe reads the domain (experiment, plate) of an image from features: the
// measure that all explanations share.
//
// Softmax regression of standardised features (train/evaluate/linear_probe.h), taught by one half
// of the images, counted on the other: 60 epochs of batches of 32, learning rate 1 / width, cosine
// to 0. That rate is stable for features of any width, as the curvature of the loss along the
// common direction of standardised features grows with it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "nn/functional/nearest.h"
#include "train/evaluate/figures.h"

namespace mono {

// domain [row]: 0..domains-1; in_bank [row]: 1 for rows that teach. Nothing where there are fewer
// than two domains, or where one side has no rows. Errors: those of linear_probe.
std::optional<Share> probe_domain(FeatureView features, std::span<const int> domain, int domains,
                                  std::span<const uint8_t> in_bank, uint64_t seed);

// What always naming the most frequent domain gives: its share of the rows that ask.
double chance_of(std::span<const int> domain, int domains, std::span<const uint8_t> in_bank);

}  // namespace mono
