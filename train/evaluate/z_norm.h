// Z-norm: features standardised within their batch (domain), the CDCL paper's Z-norm column.
//
//   z = (x - mean_b) / (std_b + 1e-8), then divided by its norm
//
// x is the row divided by its norm, as in CDCL's code; std is the unbiased one. Whose rows give
// mean and std:
//   controls     the domain's control rows (the paper's text)
//   all          all rows of the domain: the headline, the deterministic form of CDCL's code
//   minibatch92  runs of 92 rows in the order of the array, whatever their domains (CDCL's code,
//   for
//                test data). A last run of one row joins the run before it.
// Call it once for the bank and once for the queries: each is standardised by itself. For
// minibatch92 CDCL standardises the bank by `all`.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

#include "nn/functional/nearest.h"

namespace mono {

enum class ZNorm { controls, all, minibatch92 };
const char* name_of(ZNorm mode);

// domains (rows), from 0 on; is_control (rows), 0 or 1, may be empty unless `controls` is asked
// for. Errors: data where a domain (named by its number) has fewer than two rows to standardise by,
// or a value is not finite.
Features z_norm(FeatureView features, std::span<const int> domains,
                std::span<const uint8_t> is_control, ZNorm mode);

}  // namespace mono
