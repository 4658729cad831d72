// A step recorded once and replayed as one piece of work: a CUDA graph.
//
//   Graph step([&] { forward(); backward(); update(); });
//   step.replay();
//
// Replaying costs one launch instead of thousands. The work must do the same at each call: the same
// kernels on the same memory. What changes from step to step (input, learning rate) is read from
// device memory that somebody writes between replays; no copy from or to the host, and no waiting,
// is possible inside.
#pragma once

#include <functional>
#include <optional>

#include "runtime/stream.h"

namespace mono {

class Graph {
 public:
  // Runs `work` once, for real, then records it without running it. Everything that it allocates
  // comes from memory that belongs to the graph, so that a replay finds it unused by others;
  // tensors that it makes and keeps may outlive the graph.
  explicit Graph(const std::function<void()>& work);
  ~Graph();
  Graph(const Graph&) = delete;
  Graph& operator=(const Graph&) = delete;

  // Enqueues the recorded work on the compute stream.
  void replay() const;

  // Whether work is being recorded now.
  static bool capturing();

 private:
  int pool_;
  gpu::Graph graph_;
};

}  // namespace mono
