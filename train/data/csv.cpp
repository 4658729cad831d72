#include "train/data/csv.h"

#include "kernels/base/error.h"
#include "kernels/base/utf8.h"

#include <algorithm>
#include <charconv>
#include <cmath>
#include <fstream>

namespace mono {
namespace {

constexpr size_t kMaxText = size_t{1} << 30;

class Parser {
 public:
  Parser(std::string_view text, const std::string& file, char separator)
      : text_(text), file_(file), separator_(separator) {}

  bool at_end() const { return at_ == text_.size(); }

  CsvRow row() {
    CsvRow row{line_, {}};
    for (;;) {
      row.fields.push_back(field());
      if (at_end()) break;
      const char c = text_[at_++];
      if (c == separator_) continue;
      if (c == '\r' && !at_end() && text_[at_] == '\n') ++at_;
      ++line_;
      break;
    }
    return row;
  }

 private:
  std::string field() {
    const bool quotes = separator_ != '\t';
    if (at_end() || text_[at_] != '"' || !quotes) {
      const char ends[] = {separator_, '\r', '\n', 0};
      const size_t end = std::min(text_.find_first_of(ends, at_), text_.size());
      const std::string_view field = text_.substr(at_, end - at_);
      if (quotes && field.find('"') != field.npos)
        fail(ErrorKind::data,
             "{}:{}: a quote inside the unquoted field '{}'; write it as \"...\"\"...\"", file_,
             line_, field);
      at_ = end;
      return std::string(field);
    }
    const int begin = line_;
    std::string field;
    for (++at_;; ++at_) {
      if (at_end())
        fail(ErrorKind::data,
             "{}:{}: the quote opened here is never closed; the file is cut off or "
             "a quote is missing",
             file_, begin);
      const char c = text_[at_];
      if (c == '"') {
        if (at_ + 1 < text_.size() && text_[at_ + 1] == '"') {
          ++at_;
        } else {
          ++at_;
          break;
        }
      }
      if (c == '\n') ++line_;
      field.push_back(c);
    }
    if (!at_end() && text_[at_] != separator_ && text_[at_] != '\r' && text_[at_] != '\n')
      fail(ErrorKind::data,
           "{}:{}: text follows the closing quote of '{}'; separate fields by commas", file_, line_,
           field);
    return field;
  }

  std::string_view text_;
  const std::string& file_;
  char separator_;
  size_t at_ = 0;
  int line_ = 1;
};

}  // namespace

int CsvTable::column(std::string_view name) const {
  const auto it = std::find(columns.begin(), columns.end(), name);
  return it == columns.end() ? -1 : static_cast<int>(it - columns.begin());
}

CsvTable parse_csv(std::string_view text, std::string file, char separator) {
  if (text.starts_with("\xEF\xBB\xBF")) text.remove_prefix(3);
  if (text.find('\0') != text.npos)
    fail(ErrorKind::data, "{}: holds NUL bytes, so it is not text in UTF-8; save it as CSV (UTF-8)",
         file);
  if (const size_t good = utf8_prefix(text); good < text.size())
    fail(ErrorKind::data,
         "{}:{}: the byte 0x{:02X} is of no character in UTF-8; save the table as CSV (UTF-8)",
         file, 1 + std::count(text.begin(), text.begin() + static_cast<ptrdiff_t>(good), '\n'),
         static_cast<unsigned char>(text[good]));
  CsvTable table;
  table.file = std::move(file);
  Parser parser(text, table.file, separator);
  if (parser.at_end())
    fail(ErrorKind::data, "{}:1: is empty; a header line and one row per image site are expected",
         table.file);
  table.columns = parser.row().fields;
  for (size_t i = 0; i < table.columns.size(); ++i) {
    const auto& name = table.columns[i];
    // An unnamed first column is what pandas writes for its index.
    if (name.empty() && i > 0)
      fail(ErrorKind::data, "{}:1: column {} has no name; give it one or delete it", table.file,
           i + 1);
    if (table.column(name) != static_cast<int>(i))
      fail(ErrorKind::data, "{}:1: column '{}' occurs twice; keep one", table.file, name);
  }
  while (!parser.at_end()) {
    CsvRow row = parser.row();
    if (row.fields.size() == 1 && row.fields[0].empty()) continue;  // a blank line
    if (row.fields.size() != table.columns.size())
      fail(ErrorKind::data,
           "{}:{}: has {} fields, the header has {}; the row is cut off or a comma "
           "is missing or not quoted",
           table.file, row.line, row.fields.size(), table.columns.size());
    table.rows.push_back(std::move(row));
  }
  return table;
}

CsvTable read_csv(const std::filesystem::path& path, std::string file, char separator) {
  std::error_code error;
  const uintmax_t size = std::filesystem::file_size(path, error);
  std::ifstream in(path, std::ios::binary);
  if (error || !in)
    fail(ErrorKind::data, "{}: cannot be read; check that the file exists and may be read", file);
  if (size > kMaxText)
    fail(ErrorKind::data, "{}: has {} bytes, at most {} are read; is this the right file?", file,
         size, kMaxText);
  std::string text(size, '\0');
  in.read(text.data(), static_cast<std::streamsize>(size));
  text.resize(static_cast<size_t>(in.gcount()));
  return parse_csv(text, std::move(file), separator);
}

bool parse_int(std::string_view field, int& value) {
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  return error == std::errc{} && end == field.data() + field.size();
}

bool parse_real(std::string_view field, double& value) {
  const auto [end, error] = std::from_chars(field.data(), field.data() + field.size(), value);
  return error == std::errc{} && end == field.data() + field.size() && std::isfinite(value);
}

std::string csv_field(std::string_view text) {
  if (text.find_first_of(",\"\r\n") == std::string_view::npos) return std::string(text);
  std::string out = "\"";
  for (const char c : text) out += c == '"' ? "\"\"" : std::string(1, c);
  return out + '"';
}

}  // namespace mono
