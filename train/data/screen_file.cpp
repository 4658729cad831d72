#include "train/data/screen_file.h"

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"
#include "models/durable_file.h"
#include "train/data/csv.h"
#include "train/data/image_file.h"
#include "train/data/tiff.h"
#include "train/data/well.h"

#include <algorithm>
#include <array>
#include <map>

namespace mono {
namespace {

template <class... Args>
[[noreturn]] void refuse(const TomlPlace& place, fmt::format_string<Args...> format,
                         Args&&... args) {
  fail(ErrorKind::usage, "{}: {}", place.text(), fmt::format(format, std::forward<Args>(args)...));
}

const std::vector<std::string>& known_keys() {
  static const std::vector<std::string> keys = {
      "format_version",    "table.file",        "table.sites",        "columns.experiment",
      "columns.plate",     "columns.well",      "columns.site",       "columns.treatment",
      "columns.control",   "columns.split",     "columns.cell_type",  "columns.moa",
      "controls.negative", "controls.positive", "controls.treatment", "split.test_experiments",
      "split.train",       "split.test",        "plate.wells",        "images.file",
      "images.folder",     "images.white",      "channels.names",     "channels.files",
      "channels.colours",  "channels.white"};
  return keys;
}

const std::vector<std::string> kTables = {"table", "columns", "controls", "split",
                                          "plate", "images",  "channels"};

struct PlateFormat {
  int wells, rows, columns;
};
constexpr std::array<PlateFormat, 7> kPlates = {
    {{6, 2, 3}, {12, 3, 4}, {24, 4, 6}, {48, 6, 8}, {96, 8, 12}, {384, 16, 24}, {1536, 32, 48}}};

const PlateFormat& plate_of(int wells) {
  const auto it = std::find_if(kPlates.begin(), kPlates.end(),
                               [&](const PlateFormat& p) { return p.wells == wells; });
  MONO_CHECK(it != kPlates.end(), "plates of {} wells", wells);
  return *it;
}

// Colour-blind readers tell neighbours apart by order of brightness; ours.
constexpr std::array<std::array<int, 3>, kMaxChannels> kColours = {{{60, 60, 255},
                                                                    {0, 200, 60},
                                                                    {255, 50, 40},
                                                                    {0, 190, 200},
                                                                    {210, 0, 200},
                                                                    {220, 200, 0},
                                                                    {255, 140, 0},
                                                                    {170, 170, 170}}};

class Document {
 public:
  explicit Document(const std::filesystem::path& root)
      : file_((root / kScreenFile).string()), items_(parse_toml(read_file(file_, 1 << 20), file_)) {
    for (const TomlItem& item : items_) {
      check_known(item);
      at_.emplace(item.key, &item);
    }
  }

  const TomlItem* find(const std::string& key) const {
    const auto it = at_.find(key);
    return it == at_.end() ? nullptr : it->second;
  }

  // Where a message about a key that may be absent points.
  TomlPlace place(const std::string& key) const {
    const TomlItem* item = find(key);
    if (item) return item->place;
    item = find(key.substr(0, key.find('.')));
    return item ? item->place : TomlPlace{file_, 1, 1};
  }

  std::string text(const std::string& key, bool required, const std::string& otherwise = {}) const {
    const TomlItem* item = find(key);
    if (!item) {
      if (required)
        refuse(place(key), "key '{}' is missing; add it (train/data/README.md has an example)",
               key);
      return otherwise;
    }
    const auto* string = std::get_if<std::string>(&item->value.value);
    if (!string) refuse_type(key, item->value, "a string");
    if (string->empty()) refuse(item->value.place, "{}: is empty; give a name", key);
    return *string;
  }

  int64_t integer(const std::string& key, int64_t otherwise, int64_t low, int64_t high) const {
    const TomlItem* item = find(key);
    if (!item) return otherwise;
    return integer(key, item->value, low, high);
  }

  static int64_t integer(const std::string& key, const TomlValue& value, int64_t low,
                         int64_t high) {
    const auto* integer = std::get_if<int64_t>(&value.value);
    if (!integer) refuse_type(key, value, "an integer");
    if (*integer < low || *integer > high)
      refuse(value.place, "{}: {} is out of range, {} to {}", key, *integer, low, high);
    return *integer;
  }

  ScreenNames names(const std::string& key, std::vector<std::string> otherwise = {}) const {
    const TomlItem* item = find(key);
    if (!item) return {std::move(otherwise), place(key)};
    const auto* array = std::get_if<TomlArray>(&item->value.value);
    if (!array) refuse_type(key, item->value, "an array of strings, such as [\"DMSO\"]");
    ScreenNames names{{}, item->place};
    for (const TomlValue& element : *array) {
      const auto* string = std::get_if<std::string>(&element.value);
      if (!string) refuse_type(key, element, "a string");
      if (std::find(names.list.begin(), names.list.end(), *string) != names.list.end())
        refuse(element.place, "{}: '{}' appears twice; leave one out", key, *string);
      names.list.push_back(*string);
    }
    return names;
  }

  ScreenText pattern(const std::string& key, const TomlValue& value,
                     const std::string& text) const {
    try {
      return {parse_name_pattern(text), value.place};
    } catch (const Error& error) {
      refuse(value.place, "{}: {}", key, error.what());
    }
  }

  // A column, or a text with columns in braces.
  std::optional<ScreenText> column(const std::string& key, bool required) const {
    const std::string name = text(key, required);
    if (name.empty()) return std::nullopt;
    const TomlValue& value = find(key)->value;
    if (name.find_first_of("{}") != name.npos) return pattern(key, value, name);
    return ScreenText{{{{name, true, 0}}}, value.place};
  }

  [[noreturn]] static void refuse_type(const std::string& key, const TomlValue& value,
                                       const char* wanted) {
    refuse(value.place, "{}: {} is {}, where {} is expected", key, value.text(), value.type_name(),
           wanted);
  }

 private:
  static void check_known(const TomlItem& item) {
    const std::vector<std::string>& keys = known_keys();
    if (std::holds_alternative<TomlTable>(item.value.value)) {
      if (std::find(kTables.begin(), kTables.end(), item.key) == kTables.end())
        refuse(item.place, "unknown table '{}'{}", item.key, did_you_mean(item.key, kTables));
      return;
    }
    if (std::find(keys.begin(), keys.end(), item.key) != keys.end()) return;
    std::string near = nearest_name(item.key, keys);
    const std::string last = item.key.substr(item.key.rfind('.') + 1);
    for (const std::string& key : keys)
      if (near.empty() && key.substr(key.rfind('.') + 1) == last) near = key;
    refuse(item.place, "unknown key '{}'{}", item.key,
           near.empty() ? "" : fmt::format("; did you mean '{}'?", near));
  }

  std::string file_;
  std::vector<TomlItem> items_;
  std::map<std::string, const TomlItem*> at_;
};

std::array<int, 3> parse_colour(const TomlPlace& place, const std::string& text) {
  const auto digit = [](char c) {
    return c >= '0' && c <= '9'   ? c - '0'
           : c >= 'a' && c <= 'f' ? c - 'a' + 10
           : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                  : -1;
  };
  std::array<int, 3> colour{};
  bool good = text.size() == 7 && text[0] == '#';
  for (size_t i = 0; good && i < 3; ++i) {
    const int high = digit(text[1 + 2 * i]), low = digit(text[2 + 2 * i]);
    good = high >= 0 && low >= 0;
    colour[i] = 16 * high + low;
  }
  if (!good)
    refuse(place, "channels.colours: '{}' is not a colour; write red, green and blue as #ff8000",
           text);
  return colour;
}

void read_channels(const Document& document, ScreenFile& screen) {
  const ScreenNames names = document.names("channels.names");
  if (!document.find("channels.names"))
    refuse(names.place,
           "key 'channels.names' is missing; name the channels, as in [\"DNA\", \"actin\"]");
  const size_t n = names.list.size();
  if (n < 1 || n > kMaxChannels)
    refuse(names.place, "channels.names: {} channels; a screen has 1 to {}", n, kMaxChannels);
  const auto require_each = [&](const std::string& key, const TomlPlace& place, size_t size) {
    if (size != n)
      refuse(place, "{}: has {} elements, channels.names has {}; give one a channel", key, size, n);
  };
  for (size_t c = 0; c < n; ++c) {
    if (names.list[c].empty())
      refuse(names.place, "channels.names: channel {} has no name; give one", c + 1);
    screen.channels.push_back({names.list[c], kColours[c], 255});
    screen.channel_files.push_back(fmt::format("{}", c + 1));
  }
  if (const ScreenNames files = document.names("channels.files"); !files.list.empty()) {
    require_each("channels.files", files.place, files.list.size());
    screen.channel_files = files.list;
  }
  if (const ScreenNames colours = document.names("channels.colours"); !colours.list.empty()) {
    require_each("channels.colours", colours.place, colours.list.size());
    for (size_t c = 0; c < n; ++c)
      screen.channels[c].colour = parse_colour(colours.place, colours.list[c]);
  }
  if (const TomlItem* item = document.find("channels.white")) {
    const auto* array = std::get_if<TomlArray>(&item->value.value);
    if (!array)
      Document::refuse_type("channels.white", item->value, "an array of integers, one a channel");
    require_each("channels.white", item->place, array->size());
    for (size_t c = 0; c < n; ++c)
      screen.channels[c].high =
          static_cast<int>(Document::integer("channels.white", (*array)[c], 1, 255));
  }
}

void read_file_patterns(const Document& document, ScreenFile& screen) {
  const std::string key = "images.file";
  const TomlItem* item = document.find(key);
  if (!item)
    refuse(document.place(key),
           "key 'images.file' is missing; give the images' names, as in "
           "\"{{plate}}/{{well}}_s{{site}}_{{channel}}.png\"");
  const auto add = [&](const TomlValue& value) {
    const auto* text = std::get_if<std::string>(&value.value);
    if (!text) Document::refuse_type(key, value, "a string, or an array of them");
    const ScreenText pattern = document.pattern(key, value, *text);
    const bool ends_with_place =
        !pattern.pattern.pieces.empty() && pattern.pattern.pieces.back().is_place;
    if (!ends_with_place && !is_image_file(*text))
      refuse(value.place,
             "images.file: '{}' does not end with .png, .tif or .tiff; other kinds of images are "
             "not read: convert them",
             *text);
    screen.files.push_back(pattern);
  };
  const size_t n = screen.channels.size();
  if (const auto* array = std::get_if<TomlArray>(&item->value.value)) {
    if (array->size() != n)
      refuse(item->place, "images.file: has {} patterns, channels.names has {}; give one a channel",
             array->size(), n);
    for (const TomlValue& value : *array) add(value);
    if (const TomlItem* files = document.find("channels.files"))
      refuse(
          files->place,
          "channels.files says what {{channel}} stands for, but images.file gives each channel a "
          "pattern of its own; leave one of the two out");
    return;
  }
  add(item->value);
  if (n > 1 && !screen.files[0].pattern.has("channel"))
    refuse(item->value.place,
           "images.file: {} does not say where the channel stands, and the screen has {}; put "
           "{{channel}} there, or give an array with a pattern a channel",
           item->value.text(), n);
}

}  // namespace

bool has_screen_file(const std::filesystem::path& root) {
  std::error_code error;
  return std::filesystem::exists(root / kScreenFile, error);
}

ScreenFile read_screen_file(const std::filesystem::path& root) {
  const Document document(root);
  ScreenFile screen;
  document.integer("format_version", 1, 1, 1);
  screen.table = document.text("table.file", true);
  screen.sites_per_well = static_cast<int>(document.integer("table.sites", 1, 1, 9999));
  screen.experiment = *document.column("columns.experiment", true);
  screen.well = *document.column("columns.well", true);
  screen.treatment = *document.column("columns.treatment", true);
  screen.plate = document.column("columns.plate", false);
  screen.site = document.column("columns.site", false);
  screen.control = document.column("columns.control", false);
  screen.split = document.column("columns.split", false);
  screen.cell_type = document.column("columns.cell_type", false);
  screen.moa = document.column("columns.moa", false);
  if (screen.site && document.find("table.sites"))
    refuse(document.place("table.sites"),
           "table.sites says how many fields a well has, but columns.site gives each row its own; "
           "leave one of the two out");

  screen.negative = document.names("controls.negative");
  screen.positive = document.names("controls.positive");
  const auto listed = [](const ScreenNames& names, const std::string& name) {
    return std::find(names.list.begin(), names.list.end(), name) != names.list.end();
  };
  for (const auto& [key, names] :
       {std::pair("controls.negative", &screen.negative), {"controls.positive", &screen.positive}})
    if (!screen.control && listed(*names, ""))
      refuse(names->place,
             "{}: '' would be wells without a treatment, which have no class; give them one in the "
             "table, or name a column of roles in columns.control",
             key);
  // Wells of no role are treatments, unless that is what controls are.
  std::vector<std::string> no_role = {""};
  if (listed(screen.negative, "") || listed(screen.positive, "")) no_role.clear();
  screen.no_control = document.names("controls.treatment", std::move(no_role));
  if (!screen.control && document.find("controls.treatment"))
    refuse(document.place("controls.treatment"),
           "controls.treatment lists values of columns.control, which is not given; leave it out");
  if (screen.control && screen.negative.list.empty() && screen.positive.list.empty())
    refuse(document.place("columns.control"),
           "columns.control is given, but neither controls.negative nor controls.positive says "
           "which of its values are controls; add them");
  const std::array<std::pair<const char*, const ScreenNames*>, 3> kinds = {
      {{"controls.negative", &screen.negative},
       {"controls.positive", &screen.positive},
       {"controls.treatment", &screen.no_control}}};
  std::map<std::string, const char*> kind_of;
  for (const auto& [key, names] : kinds)
    for (const std::string& name : names->list)
      if (const auto [it, fresh] = kind_of.emplace(name, key); !fresh)
        refuse(names->place, "{}: '{}' is also in {}; it is one of them", key, name, it->second);

  screen.test_experiments = document.names("split.test_experiments");
  screen.train = document.names("split.train", {"train"});
  screen.test = document.names("split.test", {"test"});
  if (screen.split && document.find("split.test_experiments"))
    refuse(document.place("split.test_experiments"),
           "split.test_experiments and columns.split both say which experiments test; leave one of "
           "them out");
  for (const char* key : {"split.train", "split.test"})
    if (!screen.split && document.find(key))
      refuse(document.place(key),
             "{} lists values of columns.split, which is not given; add the "
             "column, or name the experiments in split.test_experiments",
             key);
  for (const std::string& name : screen.test.list)
    if (listed(screen.train, name))
      refuse(screen.test.place, "split.test: '{}' is also in split.train; it is one of them", name);

  if (!document.find("plate.wells"))
    refuse(document.place("plate.wells"),
           "key 'plate.wells' is missing; give the number of wells of a plate, such as 96 or 384");
  screen.wells = static_cast<int>(document.integer("plate.wells", 0, 1, 1536));
  if (std::none_of(kPlates.begin(), kPlates.end(),
                   [&](const PlateFormat& p) { return p.wells == screen.wells; }))
    refuse(document.find("plate.wells")->value.place,
           "plate.wells: there is no plate of {} wells; expected is 6, 12, 24, 48, 96, 384 or 1536",
           screen.wells);

  read_channels(document, screen);
  read_file_patterns(document, screen);
  screen.folder = without_dots(document.text("images.folder", false));
  if (!screen.folder.empty() && screen.folder.back() != '/') screen.folder += '/';
  screen.tiff_white = static_cast<int>(document.integer("images.white", kTiffWhite, 1, 65535));
  return screen;
}

std::string without_dots(std::string_view path) {
  std::string out;
  for (size_t at = 0; at < path.size();) {
    const size_t end = std::min(path.find('/', at), path.size());
    if (path.substr(at, end - at) != ".") out += path.substr(at, end + 1 - at);
    at = end + 1;
  }
  return out;
}

std::string well_name(std::string_view text, int wells) {
  const std::optional<Well> well = parse_well(text);
  const PlateFormat& plate = plate_of(wells);
  if (!well || well->row >= plate.rows || well->column >= plate.columns) return {};
  return well_name(*well);
}

std::string last_well(int wells) {
  const PlateFormat& plate = plate_of(wells);
  return well_name(Well{plate.rows - 1, plate.columns - 1});
}

}  // namespace mono
