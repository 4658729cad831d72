// The steps that tokens consist of, each on the CPU or as one launch. Not for callers.
#pragma once

#include "kernels/tokens/tokens.h"

namespace mono {

// weights (axis.size, axis.grid)
void position_weights(Stream stream, const PositionAxis& axis, double* weights);

// out(b, r, c) (+)= sum over t of weight(r, t) in(b, t, c), in double; in (batch, terms, columns),
// out (batch, rows, columns); weight(r, t) at weights[r * row_step + t * term_step].
struct WeightedRows {
  int batch, rows, terms, columns;
  const double* weights;
  int row_step, term_step;
};
template <class M>
void weighted_rows(Stream stream, const WeightedRows& problem, const M* in, M* out, GradMode mode);

// y from the position embedding P (HW, D).
template <class T>
void add_positions(Stream stream, const TokensProblem& problem, const TokensForward<T>& args,
                   const Master<T>* positions);

// sums (1 + HW, D) = sum over images of dy.
template <class T>
void token_sums(Stream stream, const TokensProblem& problem, const T* dy, Master<T>* sums);

}  // namespace mono
