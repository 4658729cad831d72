// The steps on the CPU. Not for callers.
#pragma once

#include "kernels/tokens/tokens_steps.h"

namespace mono::cpu {

void position_weights(const PositionAxis& axis, double* weights);
template <class M>
void weighted_rows(const WeightedRows& problem, const M* in, M* out, GradMode mode);
template <class T>
void add_positions(const TokensProblem& problem, const TokensForward<T>& args,
                   const Master<T>* positions);
template <class T>
void token_sums(const TokensProblem& problem, const T* dy, Master<T>* sums);

}  // namespace mono::cpu
