#include "runtime/graph.h"

#include "kernels/base/error.h"
#include "runtime/allocator.h"

namespace mono {
namespace {

bool recording = false;

// Allocations come from a pool while one lives.
class PoolInUse {
 public:
  explicit PoolInUse(int pool) { CachingAllocator::of(kGpu).use_pool(pool); }
  ~PoolInUse() { CachingAllocator::of(kGpu).use_pool(0); }
  PoolInUse(const PoolInUse&) = delete;
  PoolInUse& operator=(const PoolInUse&) = delete;
};

}  // namespace

bool Graph::capturing() {
  return recording;
}

Graph::Graph(const std::function<void()>& work) : pool_(CachingAllocator::of(kGpu).open_pool()) {
  const Stream stream = compute_stream(kGpu);
  const PoolInUse in_use(pool_);
  try {
    work();
    gpu::begin_capture(stream);
    recording = true;
    work();
    recording = false;
    graph_ = gpu::end_capture(stream);
  } catch (...) {
    if (recording) {
      recording = false;
      try {
        gpu::destroy_graph(gpu::end_capture(stream));
      } catch (const Error&) {  // what broke the recording is the error to report
      }
    }
    CachingAllocator::of(kGpu).close_pool(pool_);
    throw;
  }
}

Graph::~Graph() {
  try {
    synchronize(compute_stream(kGpu));
  } catch (const Error&) {  // whoever waits next hears of it
  }
  gpu::destroy_graph(graph_);
  CachingAllocator::of(kGpu).close_pool(pool_);
}

void Graph::replay() const {
  gpu::replay(graph_, compute_stream(kGpu));
}

}  // namespace mono
