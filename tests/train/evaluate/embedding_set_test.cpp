// Embeddings from files: what is read, and what is refused, with both values in the message.
#include "train/evaluate/embedding_set.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstring>
#include <filesystem>
#include <fstream>
#include <limits>

#include "kernels/base/error.h"
#include "tests/train/tiny_screen.h"
#include "train/evaluate/npy.h"

namespace mono {
namespace {

namespace fs = std::filesystem;
using ::testing::ElementsAre;
using ::testing::HasSubstr;

void write(const fs::path& path, const std::string& content) {
  std::ofstream(path, std::ios::binary) << content;
}

template <class T>
std::string bytes_of(const std::vector<T>& values) {
  std::string bytes(values.size() * sizeof(T), '\0');
  std::memcpy(bytes.data(), values.data(), bytes.size());
  return bytes;
}

// A file of the given version whose header is `dict`, unpadded.
std::string npy(int version, const std::string& dict, const std::string& values) {
  std::string file = "\x93NUMPY";
  file += {static_cast<char>(version), '\0'};
  for (int i = 0; i < (version == 1 ? 2 : 4); ++i)
    file += static_cast<char>(dict.size() >> (8 * i) & 0xFF);
  return file + dict + values;
}

const std::string kDict = "{'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }\n";

class NpyFile : public ::testing::Test {
 protected:
  Features read(const std::string& content) {
    write(folder_ / "x.npy", content);
    return read_npy((folder_ / "x.npy").string());
  }
  std::string error_of(const std::string& content) {
    try {
      read(content);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      EXPECT_THAT(error.what(), HasSubstr("x.npy"));
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }
  test::TempDir folder_;
};

TEST_F(NpyFile, ReadsTheThreeVersionsAndBothWidths) {
  const std::vector<float> values = {1, 2, 3, 4, 5, 6};
  for (const int version : {1, 2, 3}) {
    const Features features = read(npy(version, kDict, bytes_of(values)));
    EXPECT_EQ(features.rows, 2);
    EXPECT_EQ(features.width, 3);
    EXPECT_EQ(features.values, values);
  }
  const std::vector<double> wide = {0.1, -2, 3e10, 4, 5, 6};
  const Features features =
      read(npy(1, "{\"shape\":(3,2),'fortran_order':False,'descr':'<f8'}", bytes_of(wide)));
  EXPECT_EQ(features.rows, 3);
  EXPECT_EQ(features.values[0], 0.1f);
  EXPECT_EQ(features.values[2], 3e10f);
}

TEST_F(NpyFile, ReadsWhatItWrites) {
  const std::vector<float> values = {1, -2, 3.5f, 0, 5, 6};
  write_npy((folder_ / "y.npy").string(), values, 3, 2);
  EXPECT_EQ(read_npy((folder_ / "y.npy").string()).values, values);
}

TEST_F(NpyFile, RefusesEverythingElse) {
  const std::string values = bytes_of(std::vector<float>(6, 1.0f));
  const auto with = [&](const char* from, const char* to) {
    std::string dict = kDict;
    dict.replace(dict.find(from), std::strlen(from), to);
    return npy(1, dict, values);
  };
  EXPECT_THAT(error_of(""), HasSubstr("is no .npy file"));
  EXPECT_THAT(error_of("PK\3\4 an archive of several arrays"), HasSubstr("is no .npy file"));
  EXPECT_THAT(error_of(npy(4, kDict, values)), HasSubstr("version 4.0, where 1.0, 2.0 or 3.0"));
  EXPECT_THAT(error_of(with("<f4", ">f4")), HasSubstr("'>f4', where '<f4' or '<f8'"));
  EXPECT_THAT(error_of(with("<f4", "|O")), HasSubstr("'|O'"));
  EXPECT_THAT(error_of(with("False", "True")), HasSubstr("Fortran order"));
  EXPECT_THAT(error_of(with("False", "Maybe")), HasSubstr("neither True nor False"));
  EXPECT_THAT(error_of(with("(2, 3)", "(6,)")), HasSubstr("shape (6), where a matrix"));
  EXPECT_THAT(error_of(with("(2, 3)", "(2, 3, 1)")), HasSubstr("shape (2, 3, 1)"));
  EXPECT_THAT(error_of(with("(2, 3)", "(0, 3)")), HasSubstr("shape (0, 3)"));
  EXPECT_THAT(error_of(with("(2, 3)", "(2, -3)")), HasSubstr("not a tuple of sizes"));
  EXPECT_THAT(error_of(with("(2, 3)", "(2, 4)")), HasSubstr("(2, 4) of 4 bytes each, but 24"));
  EXPECT_THAT(error_of(with("(2, 3)", "(4611686018427387904, 3)")), HasSubstr("but 24 bytes"));
  EXPECT_THAT(error_of(with("(2, 3)", "(99999999999999999999, 3)")), HasSubstr("tuple of sizes"));
  EXPECT_THAT(error_of(with("descr", "describe")), HasSubstr("'describe' that is unknown"));
  EXPECT_THAT(error_of(with("'shape': (2, 3)", "'descr': '<f4'")), HasSubstr("'descr'"));
  EXPECT_THAT(error_of(with("'shape': (2, 3), ", "")), HasSubstr("without descr"));
  EXPECT_THAT(error_of(with("}", "} + __import__")), HasSubstr("text after the dict"));
  EXPECT_THAT(error_of(npy(1, kDict, values.substr(1))), HasSubstr("but 23 bytes"));
  EXPECT_THAT(error_of(npy(1, kDict, values + "x")), HasSubstr("but 25 bytes"));
  std::string long_header = npy(2, kDict, values);
  long_header[11] = '\x7F';  // 2 GB
  EXPECT_THAT(error_of(long_header), HasSubstr("cut short or damaged"));
  const std::string whole = npy(1, kDict, values);
  for (size_t size = 0; size < whole.size(); ++size) error_of(whole.substr(0, size));
}

class EmbeddingFolder : public ::testing::Test {
 protected:
  void SetUp() override {
    write_npy((folder_ / "embeddings.npy").string(), std::vector<float>{1, 2, 3, 4, 5, 6, 7, 8}, 4,
              2);
    write(folder_ / "metadata.csv",
          "site_id,Metadata_Batch,Metadata_Plate,Metadata_Well,Metadata_PerturbationId,"
          "Metadata_WellType,Metadata_moa,Metadata_Part\n"
          "a,E-2,1,B02,10,treatment,x,train\n"
          "b,E-1,1,B02,2,negative_control,unknown,train\n"
          "c,E-1,1,B02,10,positive_control,,test\n"
          "d,E-1,2,B02,,treatment,a,Validation\n");
  }
  std::string error_of(const EmbeddingColumns& columns = {}) {
    try {
      read_embeddings(folder_.path(), columns);
    } catch (const Error& error) {
      EXPECT_EQ(error.kind(), ErrorKind::data);
      return error.what();
    }
    ADD_FAILURE() << "no error";
    return "";
  }
  test::TempDir folder_;
};

TEST_F(EmbeddingFolder, IsReadByTheColumnsThatAreKnown) {
  const EmbeddingSet set = read_embeddings(folder_.path());
  EXPECT_EQ(set.rows(), 4);
  EXPECT_THAT(set.features.row(2), ElementsAre(5, 6));
  EXPECT_THAT(set.ids, ElementsAre("a", "b", "c", "d"));
  EXPECT_EQ(set.label.column, "Metadata_PerturbationId");
  EXPECT_THAT(set.label.names, ElementsAre("2", "10")) << "integers in their own order";
  EXPECT_THAT(set.label.of, ElementsAre(1, 0, 1, -1));
  EXPECT_THAT(set.domain.names, ElementsAre("E-1", "E-2"));
  EXPECT_THAT(set.plate.of, ElementsAre(2, 0, 0, 1)) << "plate 1 of two batches is two plates";
  EXPECT_THAT(set.well.of, ElementsAre(2, 0, 0, 1));
  EXPECT_THAT(set.moa.of, ElementsAre(1, -1, -1, 0));
  EXPECT_THAT(set.part, ElementsAre(Part::train, Part::train, Part::test, Part::validation));
  EXPECT_THAT(set.negative_controls(), ElementsAre(0, 1, 0, 0));
  EXPECT_THAT(set.controls(), ElementsAre(0, 1, 1, 0));
  EXPECT_FALSE(set.compound.known());

  const EmbeddingSet some = set.subset({0, 1, 0, 1});
  EXPECT_EQ(some.rows(), 2);
  EXPECT_THAT(some.features.row(1), ElementsAre(7, 8));
  EXPECT_THAT(some.label.of, ElementsAre(0, -1));
  EXPECT_THAT(some.ids, ElementsAre("b", "d"));
}

TEST_F(EmbeddingFolder, TakesOtherColumnsByName) {
  EmbeddingColumns columns;
  columns.label = "Metadata_moa";
  columns.domain = "Metadata_Plate";
  columns.well_type = "site_id";
  columns.negative_control = "c";
  const EmbeddingSet set = read_embeddings(folder_.path(), columns);
  EXPECT_THAT(set.label.names, ElementsAre("a", "unknown", "x"));
  EXPECT_THAT(set.domain.names, ElementsAre("1", "2"));
  EXPECT_THAT(set.negative_controls(), ElementsAre(0, 0, 1, 0));
  columns.domain = "Metadata_Plates";
  EXPECT_THAT(error_of(columns),
              HasSubstr("no column 'Metadata_Plates'; did you mean 'Metadata_Plate'?"));
}

TEST_F(EmbeddingFolder, FindsControlsByTheirLabelWhereThereAreNoWellTypes) {
  write(folder_ / "metadata.csv",
        "Metadata_broad_sample,Metadata_Plate\nDMSO,p\nBRD-1,p\nBRD-2,p\nDMSO,q\n");
  const EmbeddingSet set = read_embeddings(folder_.path());
  EXPECT_THAT(set.negative_controls(), ElementsAre(1, 0, 0, 1));
  EXPECT_EQ(set.well_type_column, "Metadata_broad_sample");
  EXPECT_EQ(set.domain.column, "Metadata_Plate");
  EXPECT_TRUE(set.part.empty());
}

TEST_F(EmbeddingFolder, RefusesWhatDoesNotFit) {
  const std::string good =
      "site_id,Metadata_Batch,Metadata_WellType,Metadata_Part\n"
      "a,1,treatment,train\nb,1,treatment,train\nc,1,treatment,test\n";
  write(folder_ / "metadata.csv", good);
  EXPECT_THAT(error_of(), HasSubstr("embeddings.npy has 4 rows and"));
  EXPECT_THAT(error_of(), HasSubstr("metadata.csv has 3"));
  write(folder_ / "metadata.csv", good + "d,1,treatment,holdout\n");
  EXPECT_THAT(error_of(), HasSubstr("metadata.csv:5: Metadata_Part is 'holdout'"));
  write(folder_ / "metadata.csv", good + "d,1,sham,test\n");
  EXPECT_THAT(error_of(), HasSubstr("Metadata_WellType is 'sham'"));
  write(folder_ / "metadata.csv", good + "d,1,treatment,test\n");
  write_npy((folder_ / "embeddings.npy").string(),
            std::vector<float>{1, 2, 3, 4, 5, std::numeric_limits<float>::quiet_NaN(), 7, 8}, 4, 2);
  EXPECT_THAT(error_of(), HasSubstr("row 2 (c), column 1 is nan"));
  fs::remove(folder_ / "metadata.csv");
  error_of();
}

}  // namespace
}  // namespace mono
