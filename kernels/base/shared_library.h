// A library that is opened when it is first needed: programs start without it, and pay for it only
// where they use it.
#pragma once

#include <dlfcn.h>

#include "kernels/base/error.h"

namespace mono {

class SharedLibrary {
 public:
  // Looks where the loader does (LD_LIBRARY_PATH, the system's directories). Stays open for good.
  explicit SharedLibrary(const char* name) : name_(name), handle_(dlopen(name, RTLD_NOW)) {
    if (!handle_)
      fail(ErrorKind::device, "{}: {}; is it installed, and its folder in LD_LIBRARY_PATH?", name,
           dlerror());
  }
  // F is the function's type, from the library's own header.
  template <class F>
  F* function(const char* name) const {
    void* const found = dlsym(handle_, name);
    if (!found) fail(ErrorKind::device, "{} has no {}: a version too old?", name_, name);
    return reinterpret_cast<F*>(found);
  }

 private:
  const char* name_;
  void* handle_;
};

// A member of a struct of functions that has a SharedLibrary `library` before it; its name and type
// are those of the library's own header.
#define MONO_LIBRARY_FUNCTION(name) \
  decltype(::name)* const name = library.function<decltype(::name)>(#name)

}  // namespace mono
