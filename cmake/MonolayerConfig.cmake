# find_package(Monolayer): what the installed libraries link, then the libraries.
include(CMakeFindDependencyMacro)
find_dependency(Threads)
find_dependency(fmt)
find_dependency(dnnl)
find_dependency(ZLIB)
find_dependency(zstd)
if("@MONO_TIFF@")  # what the libraries were built with
  find_dependency(TIFF)
endif()
if(@MONO_CUDA@)
  find_dependency(CUDAToolkit)
endif()
include(${CMAKE_CURRENT_LIST_DIR}/MonolayerTargets.cmake)
