// Where tests find their files: where the build has them, or where the environment says (a bundle).
//
// Functions, and one source that knows the paths: what is compiled elsewhere is the same in every
// checkout, and a compiler cache has it for all.
#pragma once

#include <string>

namespace mono::test {

std::string data_folder();    // tests/data; $MONO_TEST_DATA_DIR
std::string program();        // train_rxrx; $MONO_PROGRAM
std::string fake_nccl();      // the library of tests/fake_nccl, in a CUDA build; $MONO_FAKE_NCCL
std::string shared_folder();  // ../shared, real images and tables: may not be there

}  // namespace mono::test
