// The network of a finished run, out of its checkpoint: what is evaluated, and what another run may
// start from.
#pragma once

#include <filesystem>

#include "models/safetensors.h"
#include "train/checkpoint.h"
#include "train/setup.h"

namespace mono {

// The checkpoint that stands for a run: the best by validation where it was validated, else the
// newest. It must verify. Error(data).
LoadedCheckpoint load_run_checkpoint(const std::filesystem::path& run);

// Fills a network of views (its backbone and, where `head`, its classifier) from the checkpoint of
// a run of `recipe`: the teacher's backbone of DINO's, the online one of BYOL's; the probe is the
// classifier of both. Error(data) lists what is missing or of another shape; nothing has changed
// then.
void load_evaluated(Model& model, const Recipe& recipe, const SafetensorsFile& file, bool head);

// Fills the teacher of a run of method dino, backbone and head, from its checkpoint. Error(data) as
// above.
void load_teacher(Model& teacher, const SafetensorsFile& file);

// Starts a fresh network from the backbone of the run recipe.model.init_from. Errors: data (no run,
// a damaged checkpoint, another backbone or other channels; each names the file).
void load_init_from(Model& model, const Recipe& recipe);

}  // namespace mono
