// Comma-separated tables by RFC 4180, and tables separated by tabs: quoted fields with doubled
// quotes, CRLF or LF, a UTF-8 byte order mark, blank lines at the end. Columns are found by name;
// their order and extra ones do not matter.
#pragma once

#include <filesystem>
#include <string>
#include <string_view>
#include <vector>

namespace mono {

struct CsvRow {
  int line = 0;  // on which the row begins, from 1
  std::vector<std::string> fields;
};

struct CsvTable {
  std::string file;  // the name that messages begin with
  std::vector<std::string> columns;
  std::vector<CsvRow> rows;

  // Index of a column; -1 if there is none of that name.
  int column(std::string_view name) const;
};

// Throws Error(data), `FILE:LINE: ...`, for text that is not CSV: an open quote, text after a
// closing quote, a row with another number of fields than the header, an empty or doubled column
// name, NUL bytes, bytes that are not UTF-8, no header.
// With a tab as separator quotes are text like any other.
CsvTable parse_csv(std::string_view text, std::string file, char separator = ',');

// Reads at most 1 GiB. Throws Error(data) if the file cannot be read.
CsvTable read_csv(const std::filesystem::path& path, std::string file, char separator = ',');

// A decimal integer without sign (or with '-'), the whole field; false if it is anything else.
bool parse_int(std::string_view field, int& value);

// A decimal number such as 9.99999 or 1e-3, the whole field; false if it is anything else.
bool parse_real(std::string_view field, double& value);

// A field as it is written: in quotes where it holds a comma, a quote or a line break.
std::string csv_field(std::string_view text);

}  // namespace mono
