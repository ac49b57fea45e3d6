// Opens a package of the target `aoti` with libtorch alone: no Python, no neurokit, no source of the model.
//
//   run_package model.pt2 input.f32 4,1,1,8,8 output.f32
//
// The input is raw float32 in C order, of the shape that is given; the first output is written the same way.
#include <ATen/ATen.h>
#include <c10/core/InferenceMode.h>
#include <torch/csrc/inductor/aoti_package/model_package_loader.h>

#include <fstream>
#include <iostream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

int main(int argc, char** argv) {
  if (argc != 5) {
    std::cerr << "usage: run_package MODEL.pt2 INPUT.f32 SHAPE OUTPUT.f32\n";
    return 2;
  }
  try {
    const c10::InferenceMode inference;
    torch::inductor::AOTIModelPackageLoader package(argv[1], "model");
    for (const auto& [key, value] : package.get_metadata()) {
      if (key.rfind("neurokit.", 0) == 0) std::cout << key << " = " << value << "\n";
    }
    std::ifstream file(argv[2], std::ios::binary);
    std::vector<char> bytes((std::istreambuf_iterator<char>(file)), std::istreambuf_iterator<char>());
    std::vector<int64_t> shape;
    std::stringstream sizes(argv[3]);
    for (std::string size; std::getline(sizes, size, ',');) shape.push_back(std::stoll(size));
    at::Tensor input = at::from_blob(bytes.data(), shape, at::kFloat).clone();
    if (static_cast<size_t>(input.nbytes()) != bytes.size()) throw std::runtime_error("the input has another size");

    const std::vector<at::Tensor> outputs = package.run({input});
    const at::Tensor first = outputs.at(0).contiguous().to(at::kFloat);
    std::ofstream(argv[4], std::ios::binary).write(static_cast<const char*>(first.data_ptr()), first.nbytes());
    std::cout << "output = " << first.sizes() << "\n";
  } catch (const std::exception& error) {
    std::cerr << "error: " << error.what() << "\n";
    return 1;
  }
  return 0;
}
