#include "nn/optim/ema.h"

#include <array>

#include "kernels/ema/ema.h"
#include "runtime/copy.h"

namespace mono {

Ema::Ema(ParameterArena& teacher, const ParameterArena& student)
    : teacher_(teacher),
      student_(student),
      beta_(Tensor::zeros({1}, DType::f64, teacher.weights().device())) {
  MONO_CHECK(teacher.master() == student.master() &&
                 teacher.weights().device() == student.weights().device(),
             "teacher {} and student {}", teacher.weights().to_string(),
             student.weights().to_string());
  // In the order of the arena: backwards. A piece runs to its neighbour's, padding included.
  for (auto p = teacher.parameters().rbegin(); p != teacher.parameters().rend(); ++p) {
    const Parameter* from = student.find(p->name);
    if (!from) fail(ErrorKind::usage, "the teacher's '{}' is no parameter of the student", p->name);
    if (!(from->shape == p->shape))
      fail(ErrorKind::usage, "'{}' is {} in the teacher, {} in the student", p->name,
           p->shape.to_string(), from->shape.to_string());
    if (!runs_.empty() && p->offset - from->offset == runs_.back().teacher - runs_.back().student)
      runs_.back().n = p->offset + p->elements() - runs_.back().teacher;
    else
      runs_.push_back({p->offset, from->offset, p->elements()});
  }
}

void Ema::copy() const {
  for (const Run& run : runs_) {
    const Shape extent{static_cast<int>(run.n)};
    teacher_.weights()
        .range(run.teacher, extent)
        .copy_from(student_.weights().range(run.student, extent));
  }
  teacher_.weights_changed();
}

void Ema::set_momentum(double beta) {
  upload(beta_.stream(), beta_.raw(), &beta, sizeof beta);
}

void Ema::apply() const {
  dispatch_master(teacher_.master(), [&]<class M>() {
    for (const Run& run : runs_)
      ema_update<M>(beta_.stream(), run.n, beta_.data<double>(),
                    teacher_.weights().data<M>() + run.teacher,
                    student_.weights().data<M>() + run.student);
  });
  teacher_.weights_changed();
}

}  // namespace mono
