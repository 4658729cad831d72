// The instantiations of the row passes, included by conv2d_rows.cpp and conv2d_rows.simd.cpp in
// their own namespaces. No include guard: included once by each.
#define MONO_ROWS(T)                                                                 \
  template void store_rows<T>(const Master<T>*, int64_t, int, int64_t, T*, int64_t); \
  template void moments_rows<T>(const T*, int64_t, int, int64_t, double*, double*);
#define MONO_PACK(T, Z) template void pack_rows<T, Z>(const PackRows<T, Z>&, int64_t);
#define MONO_GRADIENT(T, G, Z) \
  template void gradient_rows<T, G, Z>(const GradientRows<T, G, Z>&, int64_t);
#define MONO_INPUT_GRADIENT(T, G) \
  template void input_gradient_rows<T, G>(const InputGradientRows<T, G>&, int64_t);

MONO_ROWS(float)
MONO_ROWS(bf16)
MONO_ROWS(double)
MONO_PACK(float, float)
MONO_PACK(bf16, bf16)
MONO_PACK(bf16, float)
MONO_PACK(double, double)
MONO_GRADIENT(float, float, float)
MONO_GRADIENT(bf16, bf16, bf16)
MONO_GRADIENT(bf16, bf16, float)
MONO_GRADIENT(bf16, float, bf16)
MONO_GRADIENT(bf16, float, float)
MONO_GRADIENT(double, double, double)
MONO_INPUT_GRADIENT(float, float)
MONO_INPUT_GRADIENT(bf16, bf16)
MONO_INPUT_GRADIENT(bf16, float)
MONO_INPUT_GRADIENT(double, double)

#undef MONO_ROWS
#undef MONO_PACK
#undef MONO_GRADIENT
#undef MONO_INPUT_GRADIENT
