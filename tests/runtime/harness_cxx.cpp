// The public headers as part of a C++ program.
#include "binding.h"
#include "csbrnn.h"
#include "csbrnn_pool.h"

int main() {
    csbrnn_model model;
    return csbrnn_open(&model, nullptr, 0, nullptr) == CSBRNN_BAD_IMAGE ? 0 : 1;
}
