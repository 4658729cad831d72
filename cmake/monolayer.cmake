# Flags, and the function that makes a folder a library.

# What the project's own sources are compiled with; users of the libraries get none of it.
add_library(mono_flags INTERFACE)
# Two warnings misfire in GCC 12: -Wrestrict on std::string operator+ (bug 105651), and
# -Wstringop-overflow on what it inlines from fmt.
set(MONO_CXX_FLAGS -Wall -Wextra -Werror -Wno-restrict -Wno-stringop-overflow -ffp-contract=off
    -fno-math-errno -fstack-protector-strong)
target_compile_options(mono_flags INTERFACE $<$<COMPILE_LANGUAGE:CXX>:${MONO_CXX_FLAGS}>)
target_compile_definitions(mono_flags INTERFACE _GLIBCXX_ASSERTIONS)
# A bundle (tools/bundle.sh) brings libraries along; old-style tags hold for what those need, too.
target_link_options(mono_flags INTERFACE -pie -Wl,-z,relro,-z,now,--disable-new-dtags)
if(MONO_SANITIZE)
  target_compile_options(mono_flags INTERFACE -fsanitize=${MONO_SANITIZE} -fno-sanitize-recover=all
                         -fno-omit-frame-pointer -O1 -g1)
  target_link_options(mono_flags INTERFACE -fsanitize=${MONO_SANITIZE})
  target_compile_definitions(mono_flags INTERFACE MONO_SANITIZED=1)
else()
  target_compile_options(mono_flags INTERFACE
                         $<$<COMPILE_LANGUAGE:CXX>:-U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2>)
endif()

# CUDA is compiled for A100 (sm_80) and H100/H200 (sm_90a), with PTX for what comes later. The host
# compiler's warnings are errors there too; a * b + c is fused only where fma() says so, as on the
# CPU. cmake/ptxas_log.sh keeps what ptxas says of every kernel beside the object, for
# tools/ptxas_report.sh, which fails on register spills.
set(MONO_CUDA OFF CACHE BOOL "build the kernels for CUDA (else for the SIMT emulator)")
if(MONO_CUDA)
  include(CheckLanguage)
  check_language(CUDA)
  if(NOT CMAKE_CUDA_COMPILER)
    message(FATAL_ERROR "MONO_CUDA=ON, but there is no CUDA compiler: put nvcc 13 into PATH or set "
                        "CUDACXX, or use the preset cpu, which needs none")
  endif()
  set(CMAKE_CUDA_ARCHITECTURES "80-real;90a-real;90-virtual" CACHE STRING "")
  set(CMAKE_CUDA_RUNTIME_LIBRARY Static)  # one thing less that a machine must have
  enable_language(CUDA)
  if(NOT CMAKE_CUDA20_STANDARD_COMPILE_OPTION)  # CMake 3.25 stops at C++17, whatever nvcc can
    set(CMAKE_CUDA20_STANDARD_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_EXTENSION_COMPILE_OPTION "-std=c++20")
    set(CMAKE_CUDA20_COMPILE_FEATURES cuda_std_20)
    list(APPEND CMAKE_CUDA_COMPILE_FEATURES cuda_std_20)
  endif()
  set(CMAKE_CUDA_STANDARD 20)
  set(CMAKE_CUDA_STANDARD_REQUIRED ON)
  set(CMAKE_CUDA_FLAGS_RELEASE "-O3")
  set(CMAKE_CUDA_COMPILER_LAUNCHER ${PROJECT_SOURCE_DIR}/cmake/ptxas_log.sh ${CMAKE_CXX_COMPILER_LAUNCHER})
  find_package(CUDAToolkit REQUIRED)
  list(JOIN MONO_CXX_FLAGS "," host_flags)
  target_compile_options(mono_flags INTERFACE $<$<COMPILE_LANGUAGE:CUDA>:-fmad=false
    "SHELL:-Werror all-warnings" -Xptxas=-v -Xcompiler=${host_flags}>)
endif()

# The instruction-set levels that one source is compiled for; dispatch is at run time
# (kernels/base/cpu_features.h).
set(MONO_ISA_FLAGS_baseline "")
set(MONO_ISA_FLAGS_avx2 -mavx2 -mfma -mf16c -mbmi2)
set(MONO_ISA_FLAGS_avx512 -mavx512f -mavx512bw -mavx512vl -mavx512dq -mfma -mbmi2
    -mprefer-vector-width=512)
# GCC 12's own AVX-512 header initialises _mm512_undefined_* by itself, and so warns.
list(APPEND MONO_ISA_FLAGS_avx512 -Wno-maybe-uninitialized -Wno-uninitialized)
set(MONO_ISA_FLAGS_avx512bf16 ${MONO_ISA_FLAGS_avx512} -mavx512bf16)
set(MONO_ISA_FLAGS_amx ${MONO_ISA_FLAGS_avx512bf16} -mamx-tile -mamx-bf16)

# .cu sources where nvcc does not compile them: for the emulator.
function(mono_kernel_sources)
  if(NOT MONO_CUDA)
    set_source_files_properties(${ARGN} PROPERTIES LANGUAGE CXX
                                COMPILE_OPTIONS "-xc++;-Wno-unknown-pragmas")
  endif()
endfunction()

# mono_library(name deps...): all .cpp below the current folder become target mono_<name>.
#   NAME_avx512.cpp, NAME_avx512bf16.cpp, NAME_amx.cpp   compiled once, for that level
#   NAME.simd.cpp                                        compiled for baseline, avx2 and avx512,
#                                                        with MONO_ISA set to the level's name
#   NAME.cu                                              kernels and launchers: nvcc where
#                                                        MONO_CUDA, else this compiler, for the
#                                                        SIMT emulator (kernels/simt)
# Sources for a level above baseline use intrinsics and plain data only: an inline function of the
# standard library instantiated there could be picked by the linker for the whole program.
function(mono_library name)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "/main\\.cpp$")
  set(multi ${sources})
  list(FILTER multi INCLUDE REGEX "\\.simd\\.cpp$")
  list(FILTER sources EXCLUDE REGEX "\\.simd\\.cpp$")
  file(GLOB_RECURSE kernels CONFIGURE_DEPENDS ${CMAKE_CURRENT_SOURCE_DIR}/*.cu)
  if(MONO_CUDA)
    list(FILTER sources EXCLUDE REGEX "/simt/[a-z_]*\\.cpp$")
  else()
    list(FILTER sources EXCLUDE REGEX "_cuda\\.cpp$")
  endif()
  mono_kernel_sources(${kernels})
  if(MONO_SANITIZE)  # the emulator itself: quicker; for thread, kernels/simt/sanitizers.h says why
    set(emulator ${sources})
    list(FILTER emulator INCLUDE REGEX "/simt/[a-z_]*\\.cpp$")
    set(options -O2)
    if(MONO_SANITIZE MATCHES "thread")
      list(APPEND options -fno-sanitize=thread -DMONO_TSAN=1)
    endif()
    set_source_files_properties(${emulator} PROPERTIES COMPILE_OPTIONS "${options}")
  endif()
  add_library(mono_${name} STATIC ${sources} ${kernels})
  if(MONO_CUDA)
    target_compile_definitions(mono_${name} PUBLIC MONO_CUDA=1)
    target_link_libraries(mono_${name} PUBLIC CUDA::cudart_static)
  endif()
  foreach(level avx2 avx512 avx512bf16 amx)
    foreach(source ${sources})
      if(source MATCHES "_${level}\\.cpp$")
        set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS "${MONO_ISA_FLAGS_${level}}")
      endif()
    endforeach()
  endforeach()
  if(multi)
    foreach(level baseline avx2 avx512)
      add_library(mono_${name}_${level} OBJECT ${multi})
      # No floating-point exception is ever looked at; with them, loops that choose between values
      # are not vectorised below AVX-512, which has masks.
      target_compile_options(mono_${name}_${level} PRIVATE ${MONO_ISA_FLAGS_${level}}
                             -fno-trapping-math)
      target_compile_definitions(mono_${name}_${level} PRIVATE MONO_ISA=${level}
                                 MONO_ISA_${level}=1 $<$<BOOL:${MONO_CUDA}>:MONO_CUDA=1>)
      target_include_directories(mono_${name}_${level} PRIVATE ${PROJECT_SOURCE_DIR})
      target_link_libraries(mono_${name}_${level} PRIVATE mono_flags)
      target_sources(mono_${name} PRIVATE $<TARGET_OBJECTS:mono_${name}_${level}>)
    endforeach()
  endif()
  target_include_directories(mono_${name} PUBLIC
    $<BUILD_INTERFACE:${PROJECT_SOURCE_DIR}> $<INSTALL_INTERFACE:include/monolayer>)
  target_compile_features(mono_${name} PUBLIC cxx_std_20)
  target_link_libraries(mono_${name} PRIVATE $<BUILD_INTERFACE:mono_flags> PUBLIC ${ARGN})
  install(TARGETS mono_${name} EXPORT MonolayerTargets)
  install(DIRECTORY ${CMAKE_CURRENT_SOURCE_DIR} DESTINATION include/monolayer
          FILES_MATCHING PATTERN "*.h")
endfunction()
