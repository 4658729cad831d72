cmake_minimum_required(VERSION 3.25)
# cmake -D FOLDER=train/recipes -D OUTPUT=x.cpp -P embed_recipes.cmake
# Writes every .toml below FOLDER into a table of string literals (train/embedded_recipes.h).
file(GLOB_RECURSE files RELATIVE ${FOLDER} ${FOLDER}/*.toml)
list(SORT files)
set(rows "")
foreach(file ${files})
  file(READ ${FOLDER}/${file} text)
  string(REGEX REPLACE "\\.toml$" "" name "${file}")
  string(APPEND rows "    {\"${name}\", R\"recipe(${text})recipe\"},\n")
endforeach()
set(source "// Generated from train/recipes by cmake/embed_recipes.cmake.
#include \"train/embedded_recipes.h\"

namespace mono {

std::span<const EmbeddedRecipe> embedded_recipes() {
  static constexpr EmbeddedRecipe recipes[] = {
${rows}  };
  return recipes;
}

}  // namespace mono
")
file(CONFIGURE OUTPUT ${OUTPUT} CONTENT "@source@" @ONLY)
