// The JSON header of a .safetensors file, scanned for exactly the grammar that the format allows.
//
// A general JSON parser would accept more (nested values, duplicate keys, 1e3 for an extent) and
// then need checks against all of it; this one knows four places and refuses the rest. It does not
// recurse, so no depth of nesting in a hostile file can exhaust the stack.
#pragma once

#include <string>
#include <string_view>
#include <vector>

#include "models/safetensors.h"

namespace mono {

struct SafetensorsHeader {
  std::vector<SafetensorsEntry> entries;  // in the order of the header; offsets not yet checked
  SafetensorsMetadata metadata;
};

// ErrorKind::data with file and byte of the header.
SafetensorsHeader parse_safetensors_header(const std::string& path, std::string_view header);

// Bytes an element of this dtype takes; 0 for a dtype that the format does not have.
size_t safetensors_element_bytes(std::string_view dtype);

// A JSON string literal; bytes that are not UTF-8 become U+FFFD.
std::string quote_json(std::string_view text);

}  // namespace mono
