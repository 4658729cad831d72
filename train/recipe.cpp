#include "train/recipe.h"

#include <fmt/format.h>

#include <algorithm>
#include <filesystem>
#include <map>
#include <set>

#include "kernels/base/error.h"
#include "kernels/base/suggest.h"
#include "models/durable_file.h"
#include "train/embedded_recipes.h"
#include "train/hash.h"
#include "train/idle_keys.h"
#include "train/recipe_keys.h"
#include "train/toml.h"

namespace mono {
namespace {

template <class... Args>
[[noreturn]] void refuse(const TomlPlace& place, fmt::format_string<Args...> format,
                         Args&&... args) {
  fail(ErrorKind::usage, "{}: {}", place.text(), fmt::format(format, std::forward<Args>(args)...));
}

std::string listed(const std::vector<std::string>& names) {
  std::string out;
  for (const std::string& name : names) out += (out.empty() ? "" : ", ") + name;
  return out;
}

// ---- values from TOML -------------------------------------------------------------------------

[[noreturn]] void refuse_type(const std::string& key, const TomlValue& value, const char* wanted) {
  refuse(value.place, "{}: {} is {}, where {} is expected", key, value.text(), value.type_name(),
         wanted);
}

void check_range(const std::string& key, const TomlValue& value, double number,
                 const KeyRule& rule) {
  if (!(number >= rule.low && number <= rule.high))
    refuse(value.place, "{}: {} is out of range, {} to {}", key, value.text(), rule.low, rule.high);
}

void check_choice(const std::string& key, const TomlValue& value, const std::string& word,
                  const std::vector<std::string>& choices) {
  if (std::find(choices.begin(), choices.end(), word) == choices.end())
    refuse(value.place, "{}: '{}' is not one of {}{}", key, word, listed(choices),
           did_you_mean(word, choices));
}

void read(const std::string& key, const TomlValue& from, const KeyRule& rule, int64_t& to) {
  const auto* integer = std::get_if<int64_t>(&from.value);
  if (!integer) refuse_type(key, from, "an integer");
  check_range(key, from, static_cast<double>(*integer), rule);
  to = *integer;
}

void read(const std::string& key, const TomlValue& from, const KeyRule& rule, uint64_t& to) {
  int64_t integer = 0;
  read(key, from, rule, integer);
  to = static_cast<uint64_t>(integer);
}

void read(const std::string& key, const TomlValue& from, const KeyRule& rule, double& to) {
  if (const auto* integer = std::get_if<int64_t>(&from.value))
    to = static_cast<double>(*integer);
  else if (const auto* number = std::get_if<double>(&from.value))
    to = *number;
  else
    refuse_type(key, from, "a number");
  check_range(key, from, to, rule);
}

void read(const std::string& key, const TomlValue& from, const KeyRule&, bool& to) {
  const auto* boolean = std::get_if<bool>(&from.value);
  if (!boolean) refuse_type(key, from, "true or false");
  to = *boolean;
}

void read(const std::string& key, const TomlValue& from, const KeyRule& rule, std::string& to) {
  const auto* string = std::get_if<std::string>(&from.value);
  if (!string) refuse_type(key, from, "a string");
  if (rule.choices) check_choice(key, from, *string, *rule.choices);
  to = *string;
}

template <class E>
requires std::is_enum_v<E>
void read(const std::string& key, const TomlValue& from, const KeyRule&, E& to) {
  const std::vector<std::string>& names = EnumNames<E>::list();
  const auto* string = std::get_if<std::string>(&from.value);
  if (!string) refuse_type(key, from, ("one of " + listed(names)).c_str());
  check_choice(key, from, *string, names);
  to = static_cast<E>(std::find(names.begin(), names.end(), *string) - names.begin());
}

template <class T>
void read(const std::string& key, const TomlValue& from, const KeyRule& rule, std::vector<T>& to) {
  const auto* array = std::get_if<TomlArray>(&from.value);
  if (!array) refuse_type(key, from, "an array, such as [1, 2]");
  if (array->size() < rule.least_size || array->size() > rule.most_size)
    refuse(from.place, "{}: {} elements, where {} to {} are expected", key, array->size(),
           rule.least_size, rule.most_size);
  to.clear();
  for (const TomlValue& element : *array) {
    T value{};
    read(key, element, rule, value);
    if (rule.distinct && std::find(to.begin(), to.end(), value) != to.end())
      refuse(element.place, "{}: {} appears twice", key, element.text());
    to.push_back(std::move(value));
  }
}

// ---- values to TOML ---------------------------------------------------------------------------

std::string text_of(bool value) {
  return value ? "true" : "false";
}
std::string text_of(int64_t value) {
  return std::to_string(value);
}
std::string text_of(uint64_t value) {
  return std::to_string(value);
}
std::string text_of(double value) {
  std::string text = fmt::format("{}", value);  // the shortest that reads back to the same bits
  if (text.find_first_of(".en") == text.npos) text += ".0";
  return text;
}
std::string text_of(const std::string& value) {
  std::string out = "\"";
  for (const char c : value) {
    if (c == '"' || c == '\\') out += '\\';
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7F)
      out += fmt::format("\\u{:04X}", static_cast<unsigned>(c));
    else
      out += c;
  }
  return out + "\"";
}
template <class E>
requires std::is_enum_v<E> std::string text_of(E value) {
  return text_of(EnumNames<E>::list()[static_cast<size_t>(value)]);
}
template <class T>
std::string text_of(const std::vector<T>& values) {
  std::string out = "[";
  for (const T& value : values) out += (out.size() > 1 ? ", " : "") + text_of(value);
  return out + "]";
}

// ---- keys -------------------------------------------------------------------------------------

constexpr std::string_view kPaper = "paper.";

const std::vector<std::string>& known_keys() {
  static const std::vector<std::string> keys = [] {
    std::vector<std::string> out = {"extends", "format_version", "name"};
    Recipe recipe;
    each_key(recipe, [&](const char* key, auto&, const KeyRule&) { out.push_back(key); });
    return out;
  }();
  return keys;
}

const std::vector<std::string>& known_tables() {
  static const std::vector<std::string> tables = [] {
    std::vector<std::string> out = {"paper"};
    for (const std::string& key : known_keys())
      if (const size_t dot = key.find('.'); dot != key.npos && out.back() != key.substr(0, dot))
        out.push_back(key.substr(0, dot));
    return out;
  }();
  return tables;
}

bool contains(const std::vector<std::string>& names, const std::string& name) {
  return std::find(names.begin(), names.end(), name) != names.end();
}

// The right key for a wrong one: what other programs call it; nearest as a whole; else one with the
// same last part.
std::string key_suggestion(const std::string& key) {
  static const std::map<std::string, std::string> other_words = {
      {"lr", "optim.lr"},
      {"learning_rate", "optim.lr"},
      {"optim.learning_rate", "optim.lr"},
      {"batch_size", "batch.group_size"},
      {"train.batch_size", "batch.group_size"},
      {"epochs", "train.epochs"},
      {"model.name", "model.backbone"},
      {"model.arch", "model.backbone"}};
  const auto word = other_words.find(key);
  std::string near = word != other_words.end() ? word->second : nearest_name(key, known_keys());
  const std::string last = key.substr(key.rfind('.') + 1);
  for (const std::string& known : known_keys())
    if (near.empty() && known.substr(known.rfind('.') + 1) == last) near = known;
  return near.empty() ? near : "; did you mean '" + near + "'?";
}

void check_known(const TomlItem& item) {
  const bool is_table = std::holds_alternative<TomlTable>(item.value.value);
  if (is_table) {
    if (contains(known_keys(), item.key))
      refuse(item.place, "'{}' is a key and takes a value, not a table", item.key);
    if (!contains(known_tables(), item.key))
      refuse(item.place, "unknown table '{}'{}", item.key, did_you_mean(item.key, known_tables()));
    return;
  }
  if (item.key.starts_with(kPaper) || contains(known_keys(), item.key)) return;
  if (contains(known_tables(), item.key))
    refuse(item.place, "'{}' is a table of keys, but is given {}", item.key,
           item.value.type_name());
  refuse(item.place, "unknown key '{}'{}", item.key, key_suggestion(item.key));
}

// ---- loading ----------------------------------------------------------------------------------

bool is_path(std::string_view name) {
  return name.ends_with(".toml");
}

constexpr std::string_view kSetPlace = "--set '";  // begins the place of what was set

class Loader {
 public:
  // Merges the document, after the one that it extends.
  void add(const std::string& text, const std::string& file) {
    if (own_file_.empty()) own_file_ = file;
    const std::vector<TomlItem> items = parse_toml(text, file);
    for (const TomlItem& item : items) {
      check_known(item);
      if (item.key == "extends") extend(item, file);
    }
    for (const TomlItem& item : items) merge(item);
  }

  // Merges the recipe of that name; `from` is where it was asked for.
  void add_named(const std::string& name, const TomlPlace* from) {
    if (contains(chain_, name))
      refuse(*from, "'extends' runs in a circle: {} -> {}", join_chain(), name);
    chain_.push_back(name);
    if (is_path(name)) {
      if (!std::filesystem::exists(name))
        refuse_absent(from, fmt::format("recipe file '{}' does not exist", name));
      add(read_file(name, 1 << 20), name);
    } else {
      const std::string_view source = recipe_source(name);
      if (source.empty())
        refuse_absent(from, fmt::format("unknown recipe '{}'{} (`list recipes` shows all; a file's "
                                        "name ends in .toml)",
                                        name, did_you_mean(name, recipe_names())));
      add(std::string(source), name + ".toml");
    }
  }

  void add_set(const std::string& set) {
    const std::string place = std::string(kSetPlace) + set + "'";
    const size_t equals = set.find('=');
    if (equals == set.npos || equals == 0)
      fail(ErrorKind::usage, "{}:1:1: KEY=VALUE is expected, such as --set optim.lr=0.05", place);
    std::vector<TomlItem> items;
    if (const std::string value = set.substr(equals + 1); is_bare_word(value))
      items = parse_toml(set.substr(0, equals + 1) + '"' + value + '"', place);
    else
      items = parse_toml(set, place);
    for (const TomlItem& item : items) {
      check_known(item);
      if (item.key == "extends" || item.key == "name" || item.key == "format_version")
        refuse(item.place, "'{}' cannot be set; it belongs into a recipe file", item.key);
      merge(item);
    }
  }

  // The recipe, checked. `files`: without the sets; null: keys that do nothing are taken as they
  // are.
  Recipe recipe(const std::string& name, const Loader* files) const {
    Recipe out = values(name);
    if (files)
      if (const TomlItem* item = idle_key(out, files->values("")))
        refuse(item->place, "{} does nothing {}", item->key, *why_idle(out, item->key));
    check_together(out);
    return out;
  }

  // Whether one of these keys is given and does something.
  bool any_of_them_works(const Loader& keys) const {
    const Recipe recipe = values("");
    return std::ranges::any_of(keys.items_,
                               [&](const auto& entry) { return !why_idle(recipe, entry.first); });
  }

 private:
  Recipe values(const std::string& name) const {
    Recipe out;
    out.name = name;
    each_key(out, [&](const char* key, auto& value, const KeyRule& rule) {
      if (const auto found = items_.find(key); found != items_.end())
        read(key, found->second.value, rule, value);
    });
    if (out.batch.form == BatchForm::views && !items_.contains("batch.groups"))
      out.batch.groups = 1;  // CDCL's one GPU
    for (const auto& [key, item] : items_) {
      if (key.starts_with(kPaper)) out.paper[key.substr(kPaper.size())] = figure(item);
      if (key == "name") read(key, item.value, {}, out.name);
      if (key == "format_version") {
        int64_t version = 0;
        read(key, item.value, {}, version);
        if (version != 1)
          refuse(item.value.place, "format_version {} is not known; this program reads 1", version);
      }
    }
    return out;
  }

  // The first key that a set gives, or a file of the user's, and that does nothing. A base may
  // serve several methods, and a set may switch off what the file is about: of files, only the one
  // asked for is looked at, and there values other than the default that do nothing without the
  // sets either; but not where it lists every key, as a run's recipe.toml does.
  const TomlItem* idle_key(const Recipe& recipe, const Recipe& without_sets) const {
    const std::map<std::string, std::string> texts = recipe_texts(recipe),
                                             defaults = recipe_texts({});
    const auto is_own = [&](const TomlItem& item) {
      return (chain_.empty() || is_path(chain_.front())) && item.place.file == own_file_;
    };
    const bool resolved = std::ranges::all_of(texts, [&](const auto& entry) {
      const auto found = items_.find(entry.first);
      return found != items_.end() && (is_set(found->second) || is_own(found->second));
    });
    for (const auto& [key, text] : texts) {
      const auto found = items_.find(key);
      if (found == items_.end() || says_off(key, text) || !why_idle(recipe, key)) continue;
      const TomlItem& item = found->second;
      if (is_set(item) ||
          (is_own(item) && !resolved && text != defaults.at(key) && why_idle(without_sets, key)))
        return &item;
    }
    return nullptr;
  }
  static bool is_set(const TomlItem& item) { return item.place.file.starts_with(kSetPlace); }

  void merge(const TomlItem& item) {
    if (!std::holds_alternative<TomlTable>(item.value.value) && item.key != "extends")
      items_.insert_or_assign(item.key, item);
  }

  void extend(const TomlItem& item, const std::string& file) {
    std::string base;
    read("extends", item.value, {}, base);
    if (is_path(base) && base.front() != '/')
      base = (std::filesystem::path(file).parent_path() / base).lexically_normal();
    add_named(base, &item.value.place);
    // Published figures are of one row of a table: another recipe does not inherit them.
    std::erase_if(items_, [](const auto& of_base) { return of_base.first.starts_with(kPaper); });
  }

  // Words that TOML would take for a value of its own (true, inf, 0.1) are left to it.
  static bool is_bare_word(std::string_view value) {
    if (value.empty() || value == "true" || value == "false" || value == "inf" || value == "nan")
      return false;
    if (!std::isalpha(static_cast<unsigned char>(value[0])) && value[0] != '/' && value[0] != '.')
      return false;
    return std::all_of(value.begin(), value.end(), [](unsigned char c) {
      return std::isalnum(c) || c == '_' || c == '-' || c == '/' || c == '.';
    });
  }

  static PaperFigure figure(const TomlItem& item) {
    std::vector<double> numbers;
    if (std::holds_alternative<TomlArray>(item.value.value)) {
      read(item.key, item.value, KeyRule{.least_size = 1, .most_size = 2}, numbers);
    } else {
      numbers.resize(1);
      read(item.key, item.value, {}, numbers[0]);
    }
    PaperFigure out{numbers[0], {}};
    if (numbers.size() == 2) out.spread = numbers[1];
    return out;
  }

  // Where a key was given; the head of the recipe if it was not.
  TomlPlace place_of(const char* key) const {
    const auto found = items_.find(key);
    return found == items_.end() ? TomlPlace{chain_.empty() ? "recipe" : chain_.front()}
                                 : found->second.value.place;
  }

  void check_together(const Recipe& r) const {
    if (r.domain.adabn && !r.batch.one_experiment_per_group)
      refuse(place_of("domain.adabn"),
             "domain.adabn = true needs batch.one_experiment_per_group = true: AdaBN trains on "
             "groups of one experiment each");
    if (r.data.target == Target::experiment && r.batch_head.mode == BatchHeadMode::reversed)
      refuse(place_of("data.target"),
             "data.target = 'experiment' and batch_head.mode = 'reversed' work against each other; "
             "set batch_head.mode = 'none'");
    if (!r.data.labels.empty() && r.data.target != Target::sirna)
      refuse(place_of("data.labels"),
             "data.labels = {} gives the classes of the treatments; data.target = {} asks for "
             "others. Leave one of the two out",
             text_of(r.data.labels), text_of(r.data.target));
    check_views(r);
  }

  // Which keys go with which method and form of batch.
  void check_views(const Recipe& r) const {
    const bool views = r.batch.form == BatchForm::views;
    if (!views && r.train.epochs == 0)
      refuse(place_of("train.epochs"),
             "train.epochs: 0 is out of range with batch.form = \"groups\": at least 1");
    if (r.method != Method::supervised && !views)
      refuse(place_of("method"), "method = {} needs batch.form = \"views\": it compares crops",
             text_of(r.method));
    if (views && r.batch.anchors % r.batch.groups != 0)
      refuse(place_of("batch.groups"),
             "batch.anchors = {} cannot be parted into batch.groups = {} equal groups",
             r.batch.anchors, r.batch.groups);
    if (views && r.method != Method::supervised && r.batch.anchors == r.batch.groups)
      refuse(place_of("batch.groups"),
             "batch.groups = {} groups of one pair each: its views are compared by statistics over "
             "the group; at least 2 pairs",
             r.batch.groups);
    if (views && r.optim.kind != OptimKind::adamw)
      refuse(place_of("optim.kind"), "batch.form = \"views\" needs optim.kind = \"adamw\"");
    if (!views && r.optim.kind != OptimKind::sgd)
      refuse(place_of("optim.kind"), "optim.kind = \"adamw\" needs batch.form = \"views\"");
    if (r.method != Method::supervised && !r.model.backbone.starts_with("deit"))
      refuse(place_of("model.backbone"), "method = {} needs a DeiT backbone, not '{}'",
             text_of(r.method), r.model.backbone);
    if (!views && r.model.backbone.starts_with("deit"))
      refuse(place_of("model.backbone"), "{} needs batch.form = \"views\"", r.model.backbone);
    if (r.data.fold > 0 && r.data.validation_experiments > 0)
      refuse(place_of("data.validation_experiments"),
             "data.fold = {} has validation experiments of its own; set "
             "data.validation_experiments = 0",
             r.data.fold);
    if (r.data.split != SplitBy::separated &&
        (r.data.fold > 0 || r.data.validation_experiments > 0))
      refuse(place_of("data.split"), "whole experiments are held out: data.split = \"separated\"");
    if (r.data.target == Target::experiment && r.validation.every_epochs > 0 &&
        (r.data.fold > 0 || r.data.validation_experiments > 0))
      refuse(
          place_of("data.target"),
          "data.target = \"experiment\": validation experiments are absent from training, so that "
          "no neighbour of theirs could be right; set validation.every_epochs = 0");
    if (r.model.backbone == "intensity_histogram" && r.train.epochs > 0)
      refuse(place_of("train.epochs"),
             "intensity_histogram has nothing to train; set train.epochs = 0");
    if (r.method != Method::supervised && !r.ssl.dino_loss && !r.ssl.barlow_loss)
      refuse(place_of("ssl.dino_loss"),
             "ssl.dino_loss and ssl.barlow_loss are both false: there is no loss to minimise");
    if (r.method == Method::byol && r.ssl.dino_loss && r.ssl.barlow_loss)
      refuse(place_of("ssl.barlow_loss"),
             "with method = \"byol\" the Barlow loss replaces the cosine loss; set ssl.dino_loss = "
             "false");
    if (r.method == Method::dino && r.views.locals % 2 != 0)
      refuse(place_of("views.locals"),
             "views.locals = {}: half of them come from each image of a "
             "pair, the number must be even",
             r.views.locals);
    for (const auto& [key, scale] : {std::pair{"views.scale", r.views.scale},
                                     std::pair{"views.local_scale", r.views.local_scale}})
      if (scale[0] > scale[1])
        refuse(place_of(key), "{}: {} is more than {}", key, scale[0], scale[1]);
    if (r.ssl.multi_center && r.method != Method::dino)
      refuse(place_of("ssl.multi_center"),
             "ssl.multi_center needs method = \"dino\": no other method has a centre");
    if (r.ssl.only_cross_domain && !r.ssl.cross_batch)
      refuse(place_of("ssl.only_cross_domain"),
             "ssl.only_cross_domain needs ssl.cross_batch: all views of a pair are of one image");
    if (r.model.dim % (8 * r.model.heads) != 0)
      refuse(place_of("model.dim"), "model.dim = {} must be a multiple of 8 * model.heads = {}",
             r.model.dim, 8 * r.model.heads);
  }

  [[noreturn]] static void refuse_absent(const TomlPlace* from, const std::string& message) {
    if (from) refuse(*from, "{}", message);
    fail(ErrorKind::usage, "{}", message);
  }

  std::string join_chain() const {
    std::string out;
    for (const std::string& name : chain_) out += (out.empty() ? "" : " -> ") + name;
    return out;
  }

  std::vector<std::string> chain_;  // the recipe asked for, and what it extends, in order
  std::string own_file_;            // of the recipe asked for, in places
  std::map<std::string, TomlItem> items_;
};

}  // namespace

Recipe load_recipe(const std::string& name, const std::vector<std::string>& sets) {
  Loader files;
  files.add_named(name, nullptr);
  Loader loader = files;
  for (const std::string& set : sets) loader.add_set(set);
  return loader.recipe(name, &files);
}

Recipe load_accepted_recipe(const std::string& file) {
  Loader loader;
  loader.add_named(file, nullptr);
  return loader.recipe(file, nullptr);
}

Recipe parse_recipe(const std::string& text, const std::string& file,
                    const std::vector<std::string>& sets) {
  Loader files;
  files.add(text, file);
  Loader loader = files;
  for (const std::string& set : sets) loader.add_set(set);
  return loader.recipe(file, &files);
}

std::string text_set(const std::string& key, const std::string& value) {
  return key + "=" + text_of(value);
}

std::vector<std::string> sets_that_apply(const std::string& name,
                                         const std::vector<std::string>& sets) {
  Loader loader;
  loader.add_named(name, nullptr);
  for (const std::string& set : sets) loader.add_set(set);
  std::vector<std::string> out;
  for (const std::string& set : sets) {
    Loader keys;
    keys.add_set(set);
    if (loader.any_of_them_works(keys)) out.push_back(set);
  }
  return out;
}

void check_sets_apply(const std::vector<std::string>& names, const std::vector<std::string>& sets) {
  std::vector<std::string> used;
  for (const std::string& name : names)
    for (const std::string& set : sets_that_apply(name, sets)) used.push_back(set);
  for (const std::string& set : sets)
    if (!contains(used, set)) {
      std::vector<std::string> first = sets_that_apply(names.front(), sets);
      first.push_back(set);
      load_recipe(names.front(), first);  // says why
    }
}

std::string recipe_text(const Recipe& recipe) {
  std::string out = "format_version = 1\nname = " + text_of(recipe.name) + "\n";
  std::string table;
  each_key(recipe, [&](const std::string& key, const auto& value, const KeyRule&) {
    const size_t dot = key.find('.');
    const std::string in = dot == key.npos ? "" : key.substr(0, dot);
    if (in != table) out += "\n[" + in + "]\n";
    table = in;
    out += (dot == key.npos ? key : key.substr(dot + 1)) + " = " + text_of(value) + "\n";
  });
  if (!recipe.paper.empty()) out += "\n[paper]  # published figures, in percent: value, spread\n";
  for (const auto& [key, figure] : recipe.paper)
    out += key + " = [" + text_of(figure.value) +
           (figure.spread ? ", " + text_of(*figure.spread) : "") + "]\n";
  return out;
}

std::map<std::string, std::string> recipe_texts(const Recipe& recipe) {
  std::map<std::string, std::string> texts;
  each_key(recipe, [&](const char* key, const auto& value, const KeyRule&) {
    texts[key] = text_of(value);
  });
  return texts;
}

std::string recipe_hash(const Recipe& recipe) {
  std::string text;
  each_key(recipe, [&](const char* key, const auto& value, const KeyRule& rule) {
    if (rule.decides_results) text += std::string(key) + " = " + text_of(value) + "\n";
  });
  return hash_text(hash64(text));
}

std::vector<std::string> differing_keys(const Recipe& run, const Recipe& now) {
  std::map<std::string, std::string> before;
  each_key(run, [&](const char* key, const auto& value, const KeyRule& rule) {
    if (rule.decides_results) before[key] = text_of(value);
  });
  std::vector<std::string> out;
  each_key(now, [&](const char* key, const auto& value, const KeyRule& rule) {
    if (rule.decides_results && before[key] != text_of(value))
      out.push_back(fmt::format("{}: {} in the run, {} now", key, before[key], text_of(value)));
  });
  return out;
}

std::vector<std::string> recipe_names() {
  std::vector<std::string> names;
  for (const EmbeddedRecipe& recipe : embedded_recipes()) names.emplace_back(recipe.name);
  for (const EmbeddedRecipe& recipe : channel_recipes()) names.emplace_back(recipe.name);
  std::sort(names.begin(), names.end());
  return names;
}

std::string_view recipe_source(std::string_view name) {
  for (const auto& list : {embedded_recipes(), channel_recipes()})
    for (const EmbeddedRecipe& recipe : list)
      if (recipe.name == name) return recipe.text;
  return {};
}

const std::vector<std::string>& backbone_names() {
  static const std::vector<std::string> names = {
      "densenet_smoke", "densenet121", "densenet161", "densenet169",        "densenet201",
      "resnet_smoke",   "resnet18",    "resnet50",    "resnet101",          "deit_smoke",
      "deit_tiny",      "deit_small",  "deit_base",   "intensity_histogram"};
  return names;
}

}  // namespace mono
