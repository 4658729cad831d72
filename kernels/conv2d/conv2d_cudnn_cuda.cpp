// cuDNN's backend interface: a graph of one operation, the engines that its heuristic offers for
// it, and a plan made of the first that fits. Everything is a descriptor with attributes.
#include "kernels/conv2d/conv2d_cudnn.h"

#include <cudnn.h>
#include <cudnn_backend.h>

#include <algorithm>
#include <array>
#include <compare>
#include <map>
#include <memory>
#include <mutex>
#include <utility>
#include <vector>

#include "kernels/base/gpu_cuda.h"
#include "kernels/base/shared_library.h"

namespace mono::conv2d_gpu {
namespace {

// The functions in use, from the library that is opened with the first convolution.
struct Cudnn {
  const SharedLibrary library{"libcudnn.so.9"};
  MONO_LIBRARY_FUNCTION(cudnnCreate);
  MONO_LIBRARY_FUNCTION(cudnnSetStream);
  MONO_LIBRARY_FUNCTION(cudnnGetErrorString);
  MONO_LIBRARY_FUNCTION(cudnnGetLastErrorString);
  MONO_LIBRARY_FUNCTION(cudnnBackendCreateDescriptor);
  MONO_LIBRARY_FUNCTION(cudnnBackendDestroyDescriptor);
  MONO_LIBRARY_FUNCTION(cudnnBackendSetAttribute);
  MONO_LIBRARY_FUNCTION(cudnnBackendGetAttribute);
  MONO_LIBRARY_FUNCTION(cudnnBackendFinalize);
  MONO_LIBRARY_FUNCTION(cudnnBackendExecute);
};
const Cudnn& dnn() {
  static const Cudnn functions;
  return functions;
}

void check(cudnnStatus_t status, const char* call) {
  if (status == CUDNN_STATUS_SUCCESS) return;
  std::array<char, 512> details{};
  dnn().cudnnGetLastErrorString(details.data(), details.size());
  fail(ErrorKind::device, "{}: {} ({})", call, dnn().cudnnGetErrorString(status), details.data());
}
#define MONO_DNN_CALL(function, ...) \
  check(dnn().function(__VA_ARGS__), #function "(" #__VA_ARGS__ ")")

template <class V>
constexpr cudnnBackendAttributeType_t kAttributeType = CUDNN_TYPE_INT64;
template <>
constexpr cudnnBackendAttributeType_t kAttributeType<float> = CUDNN_TYPE_FLOAT;
template <>
constexpr cudnnBackendAttributeType_t kAttributeType<void*> = CUDNN_TYPE_VOID_PTR;
template <>
constexpr cudnnBackendAttributeType_t kAttributeType<cudnnDataType_t> = CUDNN_TYPE_DATA_TYPE;
template <>
constexpr cudnnBackendAttributeType_t kAttributeType<cudnnConvolutionMode_t> =
    CUDNN_TYPE_CONVOLUTION_MODE;
template <>
constexpr cudnnBackendAttributeType_t kAttributeType<cudnnBackendHeurMode_t> = CUDNN_TYPE_HEUR_MODE;
template <>
constexpr cudnnBackendAttributeType_t kAttributeType<cudnnBackendNumericalNote_t> =
    CUDNN_TYPE_NUMERICAL_NOTE;
template <>
constexpr cudnnBackendAttributeType_t kAttributeType<cudnnHandle_t> = CUDNN_TYPE_HANDLE;
template <>
constexpr cudnnBackendAttributeType_t kAttributeType<char> = CUDNN_TYPE_CHAR;

class Descriptor {
 public:
  explicit Descriptor(cudnnBackendDescriptorType_t type) {
    MONO_DNN_CALL(cudnnBackendCreateDescriptor, type, &handle_);
  }
  ~Descriptor() {
    if (handle_) dnn().cudnnBackendDestroyDescriptor(handle_);
  }
  Descriptor(Descriptor&& other) noexcept : handle_(std::exchange(other.handle_, nullptr)) {}
  Descriptor& operator=(Descriptor&& other) noexcept {
    std::swap(handle_, other.handle_);
    return *this;
  }

  template <class V>
  Descriptor& set(cudnnBackendAttributeName_t name, std::initializer_list<V> values) {
    MONO_DNN_CALL(cudnnBackendSetAttribute, handle_, name, kAttributeType<V>,
                  static_cast<int64_t>(values.size()), values.begin());
    return *this;
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const Descriptor& value) {
    MONO_DNN_CALL(cudnnBackendSetAttribute, handle_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1,
                  &value.handle_);
    return *this;
  }
  Descriptor& set(cudnnBackendAttributeName_t name, const std::string& text) {
    MONO_DNN_CALL(cudnnBackendSetAttribute, handle_, name, CUDNN_TYPE_CHAR,
                  static_cast<int64_t>(text.size() + 1), text.c_str());
    return *this;
  }
  Descriptor& finish() {
    MONO_DNN_CALL(cudnnBackendFinalize, handle_);
    return *this;
  }
  // False where the library does not support what the descriptor describes.
  bool try_finish() { return dnn().cudnnBackendFinalize(handle_) == CUDNN_STATUS_SUCCESS; }

  int64_t number(cudnnBackendAttributeName_t name) const {
    int64_t value = 0, count = 0;
    MONO_DNN_CALL(cudnnBackendGetAttribute, handle_, name, CUDNN_TYPE_INT64, 1, &count, &value);
    return value;
  }
  void get(cudnnBackendAttributeName_t name, Descriptor& value) const {
    int64_t count = 0;
    MONO_DNN_CALL(cudnnBackendGetAttribute, handle_, name, CUDNN_TYPE_BACKEND_DESCRIPTOR, 1, &count,
                  &value.handle_);
  }
  // The engine configurations that a heuristic offers.
  std::vector<Descriptor> results() const {
    int64_t count = 0;
    MONO_DNN_CALL(cudnnBackendGetAttribute, handle_, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                  CUDNN_TYPE_BACKEND_DESCRIPTOR, 0, &count, nullptr);
    std::vector<Descriptor> values;
    std::vector<cudnnBackendDescriptor_t> handles;
    for (int64_t i = 0; i < count; ++i)
      handles.push_back(values.emplace_back(CUDNN_BACKEND_ENGINECFG_DESCRIPTOR).handle_);
    MONO_DNN_CALL(cudnnBackendGetAttribute, handle_, CUDNN_ATTR_ENGINEHEUR_RESULTS,
                  CUDNN_TYPE_BACKEND_DESCRIPTOR, count, &count, handles.data());
    values.erase(values.begin() + count, values.end());
    return values;
  }
  bool has_note(cudnnBackendNumericalNote_t note) const {  // of an engine
    std::array<cudnnBackendNumericalNote_t, CUDNN_NUMERICAL_NOTE_TYPE_COUNT> notes;
    int64_t count = 0;
    MONO_DNN_CALL(cudnnBackendGetAttribute, handle_, CUDNN_ATTR_ENGINE_NUMERICAL_NOTE,
                  CUDNN_TYPE_NUMERICAL_NOTE, static_cast<int64_t>(notes.size()), &count,
                  notes.data());
    return std::find(notes.begin(), notes.begin() + count, note) != notes.begin() + count;
  }
  cudnnBackendDescriptor_t handle() const { return handle_; }

 private:
  cudnnBackendDescriptor_t handle_ = nullptr;
};

// The three tensors, in the numbering of variant packs.
enum TensorId : int64_t { kX = 1, kW, kY };

Descriptor tensor(TensorId id, DType dtype, int64_t n, int64_t c, int64_t h, int64_t w) {
  Descriptor d(CUDNN_BACKEND_TENSOR_DESCRIPTOR);
  d.set(CUDNN_ATTR_TENSOR_UNIQUE_ID, {int64_t{id}});
  d.set(CUDNN_ATTR_TENSOR_DATA_TYPE,
        {dtype == DType::f32 ? CUDNN_DATA_FLOAT : CUDNN_DATA_BFLOAT16});
  d.set(CUDNN_ATTR_TENSOR_DIMENSIONS, {n, c, h, w});
  d.set(CUDNN_ATTR_TENSOR_STRIDES, {h * w * c, int64_t{1}, w * c, c});  // channels innermost
  d.set(CUDNN_ATTR_TENSOR_BYTE_ALIGNMENT, {int64_t{16}});
  d.finish();
  return d;
}

// The names that the three operations give to the same attributes.
struct OperationNames {
  cudnnBackendDescriptorType_t type;
  cudnnBackendAttributeName_t x, w, y, convolution, alpha, beta;
};
OperationNames names_of(ConvPass pass) {
  switch (pass) {
    case ConvPass::fprop:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_FORWARD_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_X,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_Y,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_FORWARD_BETA};
    case ConvPass::dgrad:
      return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_DATA_DESCRIPTOR,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DX,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_W,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_DY,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_CONV_DESC,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_ALPHA,
              CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_DATA_BETA};
    case ConvPass::wgrad:
      break;
  }
  return {CUDNN_BACKEND_OPERATION_CONVOLUTION_BACKWARD_FILTER_DESCRIPTOR,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_X,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DW,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_DY,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_CONV_DESC,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_ALPHA,
          CUDNN_ATTR_OPERATION_CONVOLUTION_BWD_FILTER_BETA};
}

// Where a plan is for: a handle, or the properties of a GPU that need not be there.
struct Target {
  cudnnHandle_t handle = nullptr;
  const Descriptor* properties = nullptr;

  void enter(Descriptor& d, cudnnBackendAttributeName_t handle_name,
             cudnnBackendAttributeName_t properties_name) const {
    if (properties)
      d.set(properties_name, *properties);
    else
      d.set(handle_name, {handle});
  }
};

Descriptor graph_of(ConvPass pass, const ConvProblem& p, DType dtype, const Target& target) {
  const Descriptor x = tensor(kX, dtype, p.N, p.C, p.H, p.W);
  const Descriptor w = tensor(kW, dtype, p.K, p.C, p.R, p.S);
  const Descriptor y = tensor(kY, dtype, p.N, p.K, p.P(), p.Q());
  const int64_t pad = p.pad, stride = p.stride;
  Descriptor convolution(CUDNN_BACKEND_CONVOLUTION_DESCRIPTOR);
  convolution.set(CUDNN_ATTR_CONVOLUTION_SPATIAL_DIMS, {int64_t{2}})
      .set(CUDNN_ATTR_CONVOLUTION_COMP_TYPE, {CUDNN_DATA_FLOAT})
      .set(CUDNN_ATTR_CONVOLUTION_CONV_MODE, {CUDNN_CROSS_CORRELATION})
      .set(CUDNN_ATTR_CONVOLUTION_PRE_PADDINGS, {pad, pad})
      .set(CUDNN_ATTR_CONVOLUTION_POST_PADDINGS, {pad, pad})
      .set(CUDNN_ATTR_CONVOLUTION_DILATIONS, {int64_t{1}, int64_t{1}})
      .set(CUDNN_ATTR_CONVOLUTION_FILTER_STRIDES, {stride, stride})
      .finish();
  const OperationNames names = names_of(pass);
  Descriptor operation(names.type);
  operation.set(names.x, x).set(names.w, w).set(names.y, y).set(names.convolution, convolution);
  operation.set(names.alpha, {1.0f}).set(names.beta, {0.0f}).finish();
  Descriptor graph(CUDNN_BACKEND_OPERATIONGRAPH_DESCRIPTOR);
  graph.set(CUDNN_ATTR_OPERATIONGRAPH_OPS, operation);
  if (target.handle) graph.set(CUDNN_ATTR_OPERATIONGRAPH_HANDLE, {target.handle});
  graph.finish();
  return graph;
}

struct Plan {
  Descriptor plan;
  int64_t workspace_bytes, engine;
};

// Plans for the pass, the library's best first, `most` at most.
std::vector<Plan> plans(ConvPass pass, const ConvProblem& p, DType dtype, const Target& target,
                        size_t most) {
  std::vector<Plan> found;
  const Descriptor graph = graph_of(pass, p, dtype, target);
  for (cudnnBackendHeurMode_t mode : {CUDNN_HEUR_MODE_A, CUDNN_HEUR_MODE_FALLBACK}) {
    Descriptor heuristic(CUDNN_BACKEND_ENGINEHEUR_DESCRIPTOR);
    heuristic.set(CUDNN_ATTR_ENGINEHEUR_OPERATION_GRAPH, graph)
        .set(CUDNN_ATTR_ENGINEHEUR_MODE, {mode});
    if (target.properties) heuristic.set(CUDNN_ATTR_ENGINEHEUR_DEVICEPROP, *target.properties);
    if (!heuristic.try_finish()) continue;  // the mode knows nothing for it
    for (const Descriptor& configuration : heuristic.results()) {
      Descriptor engine(CUDNN_BACKEND_ENGINE_DESCRIPTOR);
      configuration.get(CUDNN_ATTR_ENGINECFG_ENGINE, engine);
      const auto has_note = [&](auto note) { return engine.has_note(note); };
      if (has_note(CUDNN_NUMERICAL_NOTE_NONDETERMINISTIC)) continue;
      // f32 means f32: no TF32, and none of the transforms that cancel digits.
      if (dtype == DType::f32 &&
          std::ranges::any_of(
              std::array{CUDNN_NUMERICAL_NOTE_TENSOR_CORE, CUDNN_NUMERICAL_NOTE_DOWN_CONVERT_INPUTS,
                         CUDNN_NUMERICAL_NOTE_FFT, CUDNN_NUMERICAL_NOTE_WINOGRAD},
              has_note))
        continue;
      Descriptor plan(CUDNN_BACKEND_EXECUTION_PLAN_DESCRIPTOR);
      plan.set(CUDNN_ATTR_EXECUTION_PLAN_ENGINE_CONFIG, configuration);
      target.enter(plan, CUDNN_ATTR_EXECUTION_PLAN_HANDLE, CUDNN_ATTR_EXECUTION_PLAN_DEVICEPROP);
      if (!plan.try_finish()) continue;
      const int64_t bytes = plan.number(CUDNN_ATTR_EXECUTION_PLAN_WORKSPACE_SIZE);
      found.push_back({std::move(plan), bytes, engine.number(CUDNN_ATTR_ENGINE_GLOBAL_INDEX)});
      if (found.size() == most) return found;
    }
  }
  return found;
}

// Handles and plans by GPU.
struct Key {
  int device;
  ConvPass pass;
  DType dtype;
  int N, H, W, C, K, R, S, stride, pad;
  auto operator<=>(const Key&) const = default;
};
struct State {
  std::mutex mutex;
  std::map<int, cudnnHandle_t> handles;
  std::map<Key, Plan> plans;
};
// Never destroyed: cuDNN, opened later, is taken down before, and its descriptors with it.
State& state() {
  static State* const instance = new State;
  return *instance;
}

// Under the mutex.
cudnnHandle_t handle_of(int device) {
  cudnnHandle_t& handle = state().handles[device];  // null at first
  if (!handle) MONO_DNN_CALL(cudnnCreate, &handle);
  return handle;
}
const Plan& plan_of(int device, ConvPass pass, const ConvProblem& p, DType dtype) {
  const Key key{device, pass, dtype, p.N, p.H, p.W, p.C, p.K, p.R, p.S, p.stride, p.pad};
  auto known = state().plans.find(key);
  if (known == state().plans.end()) {
    std::vector<Plan> found = plans(pass, p, dtype, {.handle = handle_of(device)}, 1);
    if (found.empty())
      fail(ErrorKind::device, "conv2d {}: cuDNN has no deterministic {} algorithm for it",
           p.to_string(), name_of(dtype));
    known = state().plans.emplace(key, std::move(found.front())).first;
  }
  return known->second;
}

int current_device() {
  int device = 0;
  MONO_CUDA_CALL(cudaGetDevice(&device));
  return device;
}

constexpr size_t kAlignment = 256;  // of the library's workspace, as an allocation of its own has

size_t workspace_bytes(ConvPass pass, const ConvProblem& p, DType dtype) {
  const std::lock_guard lock(state().mutex);
  return static_cast<size_t>(plan_of(current_device(), pass, p, dtype).workspace_bytes) +
         kAlignment;
}

void run(Stream stream, ConvPass pass, const ConvProblem& p, DType dtype,
         const PlainOperands& operands, std::span<std::byte> workspace) {
  const std::lock_guard lock(state().mutex);
  const int device = current_device();
  const Plan& plan = plan_of(device, pass, p, dtype);
  void* scratch = workspace.data();
  size_t left = workspace.size();
  MONO_CHECK(std::align(kAlignment, static_cast<size_t>(plan.workspace_bytes), scratch, left),
             "conv2d {}: cuDNN needs {} bytes behind {} of {}", p.to_string(), plan.workspace_bytes,
             kAlignment, workspace.size());
  Descriptor pack(CUDNN_BACKEND_VARIANT_PACK_DESCRIPTOR);
  pack.set(CUDNN_ATTR_VARIANT_PACK_UNIQUE_IDS, {int64_t{kX}, int64_t{kW}, int64_t{kY}})
      .set(CUDNN_ATTR_VARIANT_PACK_DATA_POINTERS, {operands.x, operands.w, operands.y})
      .set(CUDNN_ATTR_VARIANT_PACK_WORKSPACE, {scratch})
      .finish();
  MONO_DNN_CALL(cudnnSetStream, handle_of(device), cuda_stream(stream));
  MONO_DNN_CALL(cudnnBackendExecute, handle_of(device), plan.plan.handle(), pack.handle());
}

}  // namespace

bool cudnn_found() {
  static const bool found = [] {
    try {
      dnn();
      return true;
    } catch (const Error&) {
      return false;
    }
  }();
  return found;
}

const PlainConvolution kCudnn = {workspace_bytes, run};

std::vector<int64_t> cudnn_engines(ConvPass pass, const ConvProblem& problem, DType dtype,
                                   const std::string& gpu) {
  Descriptor properties(CUDNN_BACKEND_DEVICEPROP_DESCRIPTOR);
  properties.set(CUDNN_ATTR_DEVICEPROP_JSON_REPRESENTATION, gpu).finish();
  std::vector<int64_t> engines;
  for (const Plan& plan : plans(pass, problem, dtype, {.properties = &properties}, 8))
    engines.push_back(plan.engine);
  return engines;
}

}  // namespace mono::conv2d_gpu
