#include "tests/fake_nccl/fake_nccl.h"

#include <cstring>

namespace {

using mono::test::FakeNccl;

FakeNccl* script = nullptr;

ncclResult_t begin(const char* call) {
  FakeNccl& fake = *script;
  fake.calls.emplace_back(call);
  fake.asked = 0;
  if (fake.refused == call) return ncclInvalidUsage;
  return fake.questions == 0 ? fake.outcome : ncclInProgress;
}

}  // namespace

extern "C" {

void use_fake_nccl(FakeNccl* now) {
  script = now;
}

ncclResult_t ncclGetUniqueId(ncclUniqueId* id) {
  std::memset(id, 7, sizeof *id);
  return ncclSuccess;
}

ncclResult_t ncclCommInitRankConfig(ncclComm_t* comm, int, ncclUniqueId, int,
                                    ncclConfig_t* config) {
  script->blocking = config->blocking != 0;
  *comm = reinterpret_cast<ncclComm_t>(script);
  return begin("ncclCommInitRankConfig");
}

ncclResult_t ncclAllReduce(const void*, void*, size_t, ncclDataType_t, ncclRedOp_t, ncclComm_t,
                           cudaStream_t) {
  return begin("ncclAllReduce");
}

ncclResult_t ncclCommFinalize(ncclComm_t) {
  return begin("ncclCommFinalize");
}

ncclResult_t ncclCommGetAsyncError(ncclComm_t, ncclResult_t* state) {
  FakeNccl& fake = *script;
  ++fake.asked;
  *state = fake.questions < 0 || fake.asked <= fake.questions ? ncclInProgress : fake.outcome;
  return ncclSuccess;
}

ncclResult_t ncclCommDestroy(ncclComm_t) {
  script->calls.emplace_back("ncclCommDestroy");
  return ncclSuccess;
}

ncclResult_t ncclCommAbort(ncclComm_t) {
  FakeNccl& fake = *script;
  if (fake.abort_waits_for.valid()) {
    fake.abort_waits_for.wait();
    fake.abort_waited = true;
    return ncclSuccess;
  }
  fake.calls.emplace_back("ncclCommAbort");
  return ncclSuccess;
}

const char* ncclGetErrorString(ncclResult_t result) {
  return result == ncclRemoteError ? "remote error" : "invalid usage";
}

const char* ncclGetLastError(ncclComm_t) {
  return "the last thing that happened";
}

}  // extern "C"
