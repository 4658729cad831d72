// What figures of embeddings know of their images.
#include "train/evaluate/embedded_images.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include "kernels/base/error.h"
#include "tests/train/data/test_screen.h"
#include "train/evaluate/npy.h"

namespace mono {
namespace {

using ::testing::ElementsAre;
using ::testing::HasSubstr;

EmbeddingSet set_of(const std::string& csv, int rows) {
  const test::TempDir folder;
  std::vector<float> values;
  for (int i = 0; i < rows; ++i) values.push_back(static_cast<float>(i));
  write_npy((folder / "embeddings.npy").string(), values, rows, 1);
  test::write_text(folder / "metadata.csv", csv);
  return read_embeddings(folder.path());
}

const std::string kOurs =
    "site_id,Metadata_Batch,Metadata_CellType,Metadata_Perturbation,Metadata_PerturbationId,"
    "Metadata_Part\n"
    "a,RPE-1,RPE,s9,0,test\n"
    "b,HUVEC-1,HUVEC,s9,0,train\n"
    "c,HUVEC-2,HUVEC,s7,1,test\n"
    "d,HUVEC-3,HUVEC,,,test\n";

TEST(EmbeddedImages, AreTheTestImagesWithCellTypesAndNames) {
  const EmbeddedImages images = embedded_images(set_of(kOurs, 4), "AdaBN");
  EXPECT_EQ(images.title, "AdaBN");
  EXPECT_EQ(images.of, "test images");
  EXPECT_THAT(images.features.values, ElementsAre(0, 2, 3));
  EXPECT_THAT(images.treatment.names, ElementsAre("s7", "s9"));  // not 0 and 1
  EXPECT_THAT(images.treatment.of, ElementsAre(1, 0, -1));
  ASSERT_TRUE(images.cell_type.known());
  EXPECT_THAT(images.cell_type.names, ElementsAre("HUVEC", "RPE"));

  const EmbeddedImages widest = images.of_widest_cell_type();
  EXPECT_THAT(widest.features.values, ElementsAre(2, 3));
  EXPECT_EQ(widest.of, "test images");
}

TEST(EmbeddedImages, SayWhichTheyAreWhereNoneIsOfTheTestPart) {
  EXPECT_EQ(embedded_images(set_of("batch,label,part\nA,x,train\nB,y,train\n", 2), "").of,
            "training images");
  EXPECT_EQ(embedded_images(set_of("batch,label,part\nA,x,train\nB,y,val\n", 2), "").of,
            "training, validation images");
  EXPECT_EQ(embedded_images(set_of("batch,label\nA,x\nB,y\n", 2), "").of, "images");
}

TEST(EmbeddedImages, NeedBatchesButNoTreatments) {
  const EmbeddedImages images = embedded_images(set_of("batch\nA\nB\n", 2), "mine");
  EXPECT_THAT(images.treatment.of, ElementsAre(-1, -1));
  EXPECT_FALSE(images.cell_type.known());
  EXPECT_EQ(images.of_widest_cell_type().images(), 2);
  try {
    embedded_images(set_of("label\nx\ny\n", 2), "mine");
    ADD_FAILURE() << "no error";
  } catch (const Error& error) {
    EXPECT_EQ(error.kind(), ErrorKind::data);
    EXPECT_THAT(error.what(), HasSubstr("mine: metadata.csv has no column of batches"));
  }
}

TEST(EmbeddedImages, TextsNameTheMethodsThatDiffer) {
  std::vector<EmbeddedImages> methods(2);
  methods[0].title = "ERM";
  methods[1].title = "AdaBN";
  EXPECT_EQ(images_of(methods), "images");
  EXPECT_EQ(runs_of(methods), "");
  methods[0].of = "test images";
  methods[0].run = methods[1].run = "seed 1";
  EXPECT_EQ(images_of(methods), "test images (ERM), images (AdaBN)");
  EXPECT_EQ(runs_of(methods), " Of each method one run is shown: seed 1.");
}

}  // namespace
}  // namespace mono
