// Functions that run on the host and in kernels. Under nvcc they are compiled for both; the
// emulator runs kernels on the host, where the marks mean nothing.
#pragma once

#ifdef __CUDACC__
#define MONO_HOST_DEVICE __host__ __device__
#else
#define MONO_HOST_DEVICE
#endif
